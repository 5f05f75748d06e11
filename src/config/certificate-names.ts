import type { Config } from './options.ts';

/** Names and addresses that the certificate has to be for, the main one first. */
export function certificateNames({ tls, turn }: Config): string[] {
  const names = [tls.domain, turn.enabled ? turn.domain : '', ...tls.names].filter((name) => name !== '');
  return [...new Set(names.map((name) => name.toLowerCase()))];
}
