import { get } from 'node:http';

export type HealthQuestion = {
  address: string;
  port: number;
  path: string;
  /** Where it is asked from; undefined where that makes no difference. */
  from: string | undefined;
  deadlineMs: number;
};

/** @returns the HTTP status; undefined when nobody answers */
export function askHealth({ address, port, path, from, deadlineMs }: HealthQuestion): Promise<number | undefined> {
  const signal = AbortSignal.timeout(deadlineMs);
  const where = {
    host: address,
    port,
    path,
    signal,
    agent: false,
    ...(from === undefined ? {} : { localAddress: from }),
  };
  return new Promise((resolve) => {
    get(where, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', () => resolve(undefined));
  });
}
