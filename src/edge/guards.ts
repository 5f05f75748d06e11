import type { Config } from '../config/options.ts';
import { ClientAddresses } from './client-address.ts';
import { ConnectionLimits } from './connection-limits.ts';
import { RequestLimits } from './request-limits.ts';

/** Who clients are and how much each may do; one set for all public ports of a node. */
export type EdgeGuards = {
  addresses: ClientAddresses;
  connections: ConnectionLimits;
  requests: RequestLimits;
};

export function createEdgeGuards({ trusted_proxies, limit }: Config): EdgeGuards {
  const addresses = new ClientAddresses(trusted_proxies);
  const isExempt = (address: string): boolean => addresses.isTrusted(address);
  const now = (): number => performance.now();
  return {
    addresses,
    connections: new ConnectionLimits({
      perAddress: limit.connections_per_address,
      perSecond: limit.connection_rate_per_address,
      isExempt,
      now,
    }),
    requests: new RequestLimits({
      anonymousPerSecond: limit.request_rate_per_address,
      badTokensPerSecond: limit.bad_token_rate_per_address,
      isExempt,
      now,
    }),
  };
}
