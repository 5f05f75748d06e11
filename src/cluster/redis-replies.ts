/** What scripts answer, decoded. Redis' strings arrive as buffers. */
import { z } from 'zod';
import type { NodeId } from '../protocol/ids.ts';
import type { RedisReply } from './redis-session.ts';
import { badRecord } from './store-errors.ts';

export const bytes = z.instanceof(Buffer).transform((buffer): Uint8Array => new Uint8Array(buffer));
export const text = z.instanceof(Buffer).transform((buffer) => buffer.toString());
export const id = text.transform((value) => value as NodeId);
export const flag = z.literal([0, 1]).transform((value) => value === 1);
export const integer = z.int();

export function decodeReply<Schema extends z.ZodType>(schema: Schema, reply: RedisReply): z.output<Schema> {
  const parsed = schema.safeParse(reply);
  if (!parsed.success) {
    throw badRecord('an answer', parsed.error);
  }
  return parsed.data;
}
