/** What reaching Redis over TLS needs besides its address. */

/** PEM texts. Without `ca` the system's authorities are trusted. */
export type RedisTls = {
  ca?: string | undefined;
  /** Of this client, where Redis asks for one (`tls-auth-clients`). */
  cert?: string | undefined;
  key?: string | undefined;
  /** Expected in the certificate in place of the host; Sentinel names hosts by their addresses. */
  serverName?: string | undefined;
};

/** The part of the client library's socket options that TLS takes. */
export function tlsSocketOptions(tls: RedisTls | undefined) {
  if (tls === undefined) {
    return {};
  }
  const { ca, cert, key, serverName } = tls;
  return {
    tls: true as const,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}
