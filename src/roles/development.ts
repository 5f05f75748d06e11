/** What `plenum dev` presets, and what it prints. */
import type { Config } from '../config/options.ts';
import { isWildcard, machineAddresses } from './addresses.ts';

/** LiveKit's development defaults: loopback, known keys, readable logs, an open meeting page. */
export const developmentDefaults: Record<string, unknown> = {
  development: true,
  bind_addresses: ['127.0.0.1'],
  keys: { devkey: 'secret' },
  logging: { json: false },
  meet: { open: true },
};

export function developmentBanner(config: Config, port: number): string {
  const [apiKey = '', secret = ''] = Object.entries(config.keys)[0] ?? [];
  const open = config.bind_addresses.some(isWildcard);
  const host = open ? 'localhost' : hostOf(config.bind_addresses[0] ?? '127.0.0.1');
  const lines = [
    '',
    'Plenum is ready.',
    '',
    `  URL         ws://${host}:${port}`,
    `  API key     ${apiKey}`,
    `  API secret  ${secret}`,
    `  Meeting     http://${host}:${port}/meet/`,
    ...secureLines(config, host),
    '',
  ];
  if (open) {
    lines.push(
      ...machineAddresses().map((address) => `  In your network: http://${address}:${port}/meet/`),
      '  Browsers on other devices give camera and microphone to HTTPS pages only: put a TLS proxy in front, or join there to listen.',
      '',
    );
  }
  lines.push('Stop with Ctrl-C.', '');
  return `${lines.join('\n')}\n`;
}

function secureLines({ tls }: Config, host: string): string[] {
  if (tls.mode === 'off') {
    return [];
  }
  const name = hostOf(tls.domain || tls.names[0] || host);
  const site = tls.port === 443 ? name : `${name}:${tls.port}`;
  return [`  Over TLS    wss://${site}`, `              https://${site}/meet/`];
}

function hostOf(address: string): string {
  if (address === '127.0.0.1') {
    return 'localhost';
  }
  return address.includes(':') ? `[${address}]` : address;
}
