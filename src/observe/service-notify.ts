/** Tells systemd that the service is ready, and from then on that its event loop still turns. */
import { execFile } from 'node:child_process';

export type NotifyEnv = { NOTIFY_SOCKET?: string | undefined; WATCHDOG_USEC?: string | undefined };

/** @returns ends the signs of life; systemd kills the service when it is not ended in time then */
export function notifyService(env: NotifyEnv): () => void {
  if (env.NOTIFY_SOCKET === undefined) {
    return () => undefined;
  }
  const socket = { NOTIFY_SOCKET: env.NOTIFY_SOCKET };
  // Node has no datagram sockets of this kind; Debian's tool has.
  const send = (message: string): void => {
    execFile('/usr/bin/systemd-notify', [message], { env: socket, timeout: 5_000 }, () => undefined);
  };
  send('READY=1');
  const watchdogMs = Number(env.WATCHDOG_USEC ?? 0) / 1_000;
  const timer = watchdogMs > 0 ? setInterval(() => send('WATCHDOG=1'), watchdogMs / 3) : undefined;
  return () => clearInterval(timer);
}
