/** Short questions to the Redis and Sentinel processes of the masters. */
import { createClient } from '@redis/client';

const connectMs = 2_000;

async function ask<Answer>(
  where: { host: string; port: number; password: string },
  question: (send: (args: string[]) => Promise<unknown>) => Promise<Answer>,
): Promise<Answer | undefined> {
  const { host, port, password } = where;
  const client = createClient({
    socket: { host, port, connectTimeout: connectMs, reconnectStrategy: false },
    password,
    commandsQueueMaxLength: 10,
  });
  // Its failures are told by the calls below.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await question((args) => client.sendCommand(args, { timeout: connectMs }));
  } catch {
    return undefined;
  } finally {
    client.destroy();
  }
}

export async function redisAnswers(host: string, port: number, password: string): Promise<boolean> {
  return (await ask({ host, port, password }, (send) => send(['PING']))) === 'PONG';
}

/** Address of the Redis that a Sentinel takes for the master; undefined when it does not answer. */
export async function masterNamedBy(host: string, port: number, password: string): Promise<string | undefined> {
  const answer = await ask({ host, port, password }, (send) => send(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'plenum']));
  return Array.isArray(answer) && typeof answer[0] === 'string' ? answer[0] : undefined;
}
