/** Tokens for the meeting page, where the operator lets anyone join from it (`meet.open`). */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Config } from '../config/options.ts';
import { toSuffix } from '../protocol/ids.ts';
import { signToken } from '../protocol/token.ts';

export type MeetTokenReply = { status: number; body: { token: string } | { message: string } };

/** Answers `POST /meet/token`, whose JSON body is `{"room": …, "name": …}`. */
export type MeetTokenHandler = (body: Uint8Array) => MeetTokenReply;

const tokenTtlS = 6 * 3600;

/** Undefined where the page takes invitation links only. */
export function createMeetTokenHandler(config: Config): MeetTokenHandler | undefined {
  const [key] = Object.entries(config.keys);
  if (!config.meet.enabled || !config.meet.open || key === undefined) {
    return undefined;
  }
  const [apiKey, secret] = key;
  const requestSchema = z.object({
    room: z
      .string()
      .trim()
      .min(1, 'Please enter a room name.')
      .max(config.limit.max_room_name_length, 'The room name is too long.'),
    name: z
      .string()
      .trim()
      .min(1, 'Please enter your name.')
      .max(config.limit.max_participant_name_length, 'The name is too long.'),
  });
  return (body) => {
    const request = requestSchema.safeParse(parseJson(body));
    if (!request.success) {
      return { status: 400, body: { message: request.error.issues[0]?.message ?? 'The request is not understood.' } };
    }
    const { room, name } = request.data;
    const claims = {
      // Two people may carry one name; a second tab must not throw out the first.
      sub: `${name.slice(0, config.limit.max_participant_identity_length - 13)}-${toSuffix(randomBytes(12)).slice(0, 6)}`,
      name,
      video: { roomJoin: true, room, canUpdateOwnMetadata: true },
    };
    return {
      status: 200,
      body: { token: signToken(claims, { apiKey, secret, nowS: Date.now() / 1000, ttlS: tokenTtlS }) },
    };
  };
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
}
