/** What a drain waits for, as operators read it. */
import type { DrainWait } from './drain-plan.ts';
import { describeRejections } from './errors.ts';

export function describeWait(wait: DrainWait): string {
  switch (wait.kind) {
    case 'room':
      return `room ${wait.roomName} goes on`;
    case 'job':
      return `${wait.job} ${wait.jobId} of room ${wait.roomName} goes on`;
    case 'no-target':
      return `no media node can take room ${wait.roomName}: ${describeRejections(wait.rejections)}`;
    case 'moving':
      return `${count(wait.hosts, 'room')} and ${count(wait.legs, 'participant')} are being moved`;
  }
}

export function count(number: number, one: string): string {
  return `${number} ${one}${number === 1 ? '' : 's'}`;
}
