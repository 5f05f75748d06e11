/** MoveParticipant: out of one room and into another, whose hosts know nothing of each other. */
import type { CommandResult, RoomMethod } from '../protocol/session-messages.ts';

type Encodable = { toBinary(): Uint8Array };

export type RunOnHost = (method: RoomMethod, roomName: string, request: Encodable) => Promise<CommandResult>;

type Move = { identity: string; roomName: string; destinationRoom: string };

/** What the room that is left must be told in any case; it goes on by itself when it hears nothing. */
export async function moveParticipant(move: Move, request: Encodable, run: RunOnHost): Promise<CommandResult> {
  const { identity, roomName, destinationRoom } = move;
  const probe = await run('ListParticipants', destinationRoom, nothing);
  if (!probe.ok) {
    return probe;
  }
  const exported = await run('ExportParticipant', roomName, request);
  if (!exported.ok) {
    return exported;
  }
  const end = (ending: object): Promise<CommandResult> =>
    run('EndMove', roomName, json({ identity, destinationRoom, ...ending }));
  if (isRejoin(exported.response)) {
    return end({ how: 'rejoins' });
  }
  const bytes = exported.response;
  const imported = await run('ImportParticipant', destinationRoom, { toBinary: () => bytes }).catch(
    async (error: unknown) => {
      await end({ how: 'stays' });
      throw error;
    },
  );
  if (!imported.ok && imported.code === 'unavailable') {
    // No leg could be made ready, such as on a node with one worker; without its connections it finds a place.
    return end({ how: 'rejoins' });
  }
  if (!imported.ok) {
    await end({ how: 'stays' });
    return imported;
  }
  return end({ how: 'moves', told: Buffer.from(imported.response).toString('base64') });
}

const nothing: Encodable = { toBinary: () => new Uint8Array() };

function json(value: object): Encodable {
  return { toBinary: () => new TextEncoder().encode(JSON.stringify(value)) };
}

function isRejoin(transfer: Uint8Array): boolean {
  return (JSON.parse(new TextDecoder().decode(transfer)) as { kind: string }).kind === 'rejoin';
}
