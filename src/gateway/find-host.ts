import type { RoomDirectory } from '../cluster/directory.ts';
import { type HttpRefusal, joinRefusal } from '../protocol/http-errors.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { JoinParameters } from '../protocol/session-messages.ts';

export type HostSearch =
  | { kind: 'found'; nodeId: NodeId }
  | { kind: 'refused'; refusal: HttpRefusal }
  /** A resume whose room does not exist any more. */
  | { kind: 'resumeLost' };

export type HostRules = { directory: RoomDirectory; autoCreate: boolean };

/** The node that hosts the room; a new room is placed when this join may create it. Rejects as the directory does. */
export async function findHost(join: JoinParameters, rules: HostRules): Promise<HostSearch> {
  if (join.resume === undefined && mayCreate(join, rules)) {
    return { kind: 'found', nodeId: (await rules.directory.place(join.roomName)).nodeId };
  }
  const location = await rules.directory.locate(join.roomName);
  if (location !== undefined) {
    return { kind: 'found', nodeId: location.nodeId };
  }
  // Never a 404 for a resume: clients would take the call as lost instead of joining anew.
  return join.resume === undefined ? { kind: 'refused', refusal: joinRefusal.roomMissing } : { kind: 'resumeLost' };
}

/** The same answer without placing anything, for `/rtc/validate`. */
export async function checkRoom(join: JoinParameters, rules: HostRules): Promise<HttpRefusal | undefined> {
  if (join.resume !== undefined || mayCreate(join, rules)) {
    return undefined;
  }
  return (await rules.directory.locate(join.roomName)) === undefined ? joinRefusal.roomMissing : undefined;
}

function mayCreate(join: JoinParameters, rules: HostRules): boolean {
  return rules.autoCreate || join.grants.roomCreate;
}
