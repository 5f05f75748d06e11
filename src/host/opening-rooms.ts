import type { Logger } from '../observe/log.ts';
import type { RoomGrant, RoomOwnership } from '../cluster/directory.ts';
import type { JoinParameters } from '../protocol/session-messages.ts';

export type OwnedRoom = Extract<RoomGrant, { kind: 'owned' }>;

export type RoomAnswer =
  | Exclude<RoomGrant, { kind: 'owned' }>
  | { kind: 'opened' }
  | { kind: 'failed'; error: unknown };

export type OpeningRoomsOptions = {
  ownership: RoomOwnership;
  /** @returns false when the room was lost again meanwhile */
  open: (roomName: string, grant: OwnedRoom, createdBy: JoinParameters | undefined) => Promise<boolean>;
  log: Logger;
};

/** @property mayCreate whether the room may be new, and by whose join */
export type OpenRequest = { mayCreate: boolean; createdBy?: JoinParameters };

type Waiting = OpenRequest & { answered: (answer: RoomAnswer) => void };

/** Who waits for a room that is asked for from the store: in order, answered together. */
export class OpeningRooms {
  readonly #options: OpeningRoomsOptions;
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(options: OpeningRoomsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** @param answered called once, later */
  request(roomName: string, request: OpenRequest, answered: (answer: RoomAnswer) => void): void {
    const waiting = this.#waiting.get(roomName);
    if (waiting !== undefined) {
      waiting.push({ ...request, answered });
      return;
    }
    this.#waiting.set(roomName, [{ ...request, answered }]);
    void this.#acquire(roomName, request).then((answer) => {
      const all = this.#waiting.get(roomName) ?? [];
      this.#waiting.delete(roomName);
      for (const { answered: tell, ...wanted } of all) {
        if (answer.kind === 'missing' && wanted.mayCreate && !request.mayCreate) {
          // It was only looked for on behalf of somebody else.
          this.request(roomName, wanted, tell);
        } else {
          this.#tell(tell, answer);
        }
      }
    });
  }

  async #acquire(roomName: string, { mayCreate, createdBy }: OpenRequest): Promise<RoomAnswer> {
    const { ownership, open, log } = this.#options;
    try {
      const grant = await ownership.acquire(roomName, mayCreate);
      if (grant.kind !== 'owned') {
        return grant;
      }
      return (await open(roomName, grant, createdBy)) ? { kind: 'opened' } : { kind: 'elsewhere' };
    } catch (error) {
      log.warn({ err: error, room: roomName }, 'a room could not be opened');
      return { kind: 'failed', error };
    }
  }

  /** One request's fault is not the others'. */
  #tell(tell: (answer: RoomAnswer) => void, answer: RoomAnswer): void {
    try {
      tell(answer);
    } catch (error) {
      this.#options.log.error({ err: error }, 'a request to a room that was opened failed');
    }
  }
}
