import { AccessToken, type VideoGrant } from 'livekit-server-sdk';

export const devKey = { apiKey: 'devkey', apiSecret: 'secret' };

export type TokenOptions = {
  room: string;
  identity: string;
  name?: string;
  metadata?: string;
  attributes?: Record<string, string>;
  /** Merged over `roomJoin` for `room`. */
  grants?: VideoGrant;
  ttlS?: number;
  key?: { apiKey: string; apiSecret: string };
  /** Used as it is, in place of one that is made of the other options. */
  token?: string;
};

/** A join token as an application's backend would make it, with LiveKit's own server SDK. */
export async function joinToken(options: TokenOptions): Promise<string> {
  if (options.token !== undefined) return options.token;
  const key = options.key ?? devKey;
  const token = new AccessToken(key.apiKey, key.apiSecret, {
    identity: options.identity,
    ttl: options.ttlS ?? 3600,
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.metadata === undefined ? {} : { metadata: options.metadata }),
    ...(options.attributes === undefined ? {} : { attributes: options.attributes }),
  });
  token.addGrant({ roomJoin: true, room: options.room, ...options.grants });
  return token.toJwt();
}
