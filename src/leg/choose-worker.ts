/** Where a new participant's transports go. */

export type WorkerCandidate = {
  workerIndex: number;
  /** Streams that it carries, of all rooms. */
  load: number;
  /** Participants of this room on it. */
  roomLegs: number;
  /** Tracks of this room that are published from it. */
  roomTracks: number;
};

/** In streams: a room on one more worker costs a copy of each track that is wanted there. */
const newWorkerCost = 150;
/** In streams: with its publishers together a room needs the fewest copies. */
const publishersWorth = 150;

/**
 * A room stays together, where its publishers are, until that worker carries clearly more than another one, or has its
 * full number of participants. Every participant may take every track, so that number bounds how often a worker sends one.
 * @param candidates workers that are alive
 * @param maxRoomLegs participants of one room per worker; exceeded only when all workers have as many
 * @returns undefined when there is no worker
 */
export function chooseWorker(candidates: readonly WorkerCandidate[], maxRoomLegs: number): number | undefined {
  const withRoom = candidates.filter(({ roomLegs }) => roomLegs < maxRoomLegs);
  if (withRoom.length === 0) {
    return candidates.toSorted((left, right) => left.roomLegs - right.roomLegs || left.load - right.load)[0]
      ?.workerIndex;
  }
  const mostTracks = Math.max(1, ...candidates.map(({ roomTracks }) => roomTracks));
  const isNewRoom = candidates.every(({ roomLegs }) => roomLegs === 0);
  const cost = ({ load, roomLegs, roomTracks }: WorkerCandidate): number =>
    load + (isNewRoom || roomLegs > 0 ? 0 : newWorkerCost) - (roomTracks === mostTracks ? publishersWorth : 0);
  return withRoom.toSorted((left, right) => cost(left) - cost(right))[0]?.workerIndex;
}
