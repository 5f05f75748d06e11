import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';

const bindingRequest = Buffer.from('000100002112a442', 'hex');
const bindingAnswer = 0x0101;

/** Asks a STUN server for our address (RFC 8489). @returns whether it answered in time */
export function answersStun(host: string, port: number, timeoutMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const id = randomBytes(12);
  const socket = createSocket('udp4');
  const timer = setTimeout(() => resolve(false), timeoutMs);
  socket.on('message', (message) => {
    if (message.length >= 20 && message.readUInt16BE(0) === bindingAnswer && message.subarray(8, 20).equals(id)) {
      resolve(true);
    }
  });
  socket.on('error', () => resolve(false));
  socket.send(Buffer.concat([bindingRequest, id]), port, host);
  return promise.finally(() => {
    clearTimeout(timer);
    socket.close();
  });
}
