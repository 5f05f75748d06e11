import { setLogEventListeners } from 'mediasoup';
import type { Logger } from '../observe/log.ts';

const linesPerSecond = 20;

/** We close an object while the word that its parent took it along is still on its way: nothing is wrong. */
const closedTwice = /(NotFoundError|not found).*\[method:\w+\.close\w+\]/;
/** Each worker tries ports until one is free; the one that it takes is logged. */
const portTaken = /uv_\w+_bind\(\) failed .*address already in use/;

/**
 * Sends the engine's warnings and errors to our log. Some of them can be provoked by a client, packet by packet, so only
 * some lines a second are written and the rest is counted. The engine has one set of listeners for the whole process.
 */
export function passEngineLogs(log: Logger): void {
  let secondStartedAtMs = performance.now();
  let lines = 0;
  let suppressed = 0;
  const mayWrite = (): boolean => {
    const nowMs = performance.now();
    if (nowMs - secondStartedAtMs >= 1000) {
      if (suppressed > 0) {
        log.warn({ suppressed }, 'lines of the media engine were left out');
      }
      secondStartedAtMs = nowMs;
      lines = 0;
      suppressed = 0;
    }
    lines += 1;
    suppressed += lines > linesPerSecond ? 1 : 0;
    return lines <= linesPerSecond;
  };
  setLogEventListeners({
    onwarn: (namespace, message) => {
      if (closedTwice.test(message) || portTaken.test(message)) {
        log.debug({ namespace }, message);
      } else if (mayWrite()) {
        log.warn({ namespace }, message);
      }
    },
    onerror: (namespace, message, error) => {
      if (closedTwice.test(message) || portTaken.test(message)) {
        log.debug({ namespace }, message);
      } else if (mayWrite()) {
        log.error({ namespace, ...(error === undefined ? {} : { err: error }) }, message);
      }
    },
  });
}
