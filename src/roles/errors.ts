import { PlenumError } from '../lib/errors.ts';

export function noExternalAddress(servers: readonly string[]): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'no-external-address',
    message: `\`rtc.use_external_ip\`: no STUN server answered (${servers.join(', ')}); set \`rtc.node_ip\`, or \`rtc.stun_servers\` that this machine reaches`,
  });
}
