/** `plenum room …`: looks into rooms of a running server and moderates them, through the same API that apps use. */
import type { JsonValue, Message } from '@bufbuild/protobuf';
import { DataPacket_Kind, type ParticipantInfo, ParticipantPermission, type Room } from '@livekit/protocol';
import { Command, Option } from 'commander';
import type { RoomServiceClient } from 'livekit-server-sdk';
import { parseAttribute, parseCount } from './arguments.ts';
import { nothingToMute } from './errors.ts';
import { formatParticipants, formatRooms, participantTracks } from './room-tables.ts';
import { addServerOptions, callServer, type ServerOptions } from './server-options.ts';
import { type CliEnv, type CliOutput, formatJson, toPrintable } from './terminal.ts';

type CommonOptions = ServerOptions & { json?: boolean };

/** What a command found out or did: as data for `--json`, as text for people. */
type Outcome = { json: JsonValue; text: string };

type Run<Options> = (rooms: RoomServiceClient, args: string[], options: Options) => Promise<Outcome>;

type Definition<Options> = {
  /** e.g. `create <room>`. */
  usage: string;
  description: string;
  /** Arguments of an example call, after `./plenum room <name>`. */
  example: string;
  options?: (command: Command) => Command;
  run: Run<Options & CommonOptions>;
};

const footer = `
Without options, the commands talk to the server of ./plenum dev on this machine. For another server set LIVEKIT_URL,
LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or use --url, --api-key and --api-secret.

Exit status: 0 = done, 1 = no server answers or it refuses, 2 = wrong use.
`;

/** `err` takes complaints about wrong use. */
export function roomCommand(env: CliEnv, out: CliOutput, err: CliOutput = process.stderr): Command {
  const room = new Command('room')
    .description('see and moderate rooms of a running server')
    .configureOutput({ writeOut: (text) => out.write(text), writeErr: (text) => err.write(text) })
    .exitOverride()
    .addHelpText('after', footer);
  const add = <Options>(definition: Definition<Options>): void => addCommand(room, definition, { env, out });
  add(listDefinition);
  add(createDefinition);
  add(deleteDefinition);
  add(updateMetadataDefinition);
  add(participantsDefinition);
  add(participantDefinition);
  add(updateParticipantDefinition);
  add(removeDefinition);
  add(muteDefinition);
  add(subscribeDefinition);
  add(sendDataDefinition);
  return room;
}

function addCommand<Options>(
  room: Command,
  definition: Definition<Options>,
  io: { env: CliEnv; out: CliOutput },
): void {
  const command = room.command(definition.usage).description(definition.description);
  definition.options?.(command);
  addServerOptions(command, io.env)
    .option('--json', 'print JSON, as the server API answers')
    .addHelpText('after', `\nExample:\n  ./plenum room ${command.name()} ${definition.example}\n`)
    .action(async () => {
      const options = command.opts<Options & CommonOptions>();
      const outcome = await callServer(options, (rooms) => definition.run(rooms, command.args, options));
      io.out.write(options.json === true ? formatJson(outcome.json) : outcome.text);
    });
}

function toJson(message: Message): JsonValue {
  // As the server API writes it, so that one jq filter serves both.
  return message.toJson({ emitDefaultValues: true, useProtoFieldName: true });
}

function roomOutcome(room: Room): Outcome {
  return { json: toJson(room), text: formatRooms([room]) };
}

function participantOutcome(participant: ParticipantInfo): Outcome {
  return { json: toJson(participant), text: formatParticipants([participant]) };
}

function done(text: string): Outcome {
  return { json: {}, text: `${toPrintable(text)}\n` };
}

const listDefinition: Definition<object> = {
  usage: 'list [room...]',
  description: 'list rooms, all or the named ones',
  example: 'demo',
  run: async (rooms, names) => {
    const found = await rooms.listRooms(names);
    return { json: found.map(toJson), text: found.length === 0 ? 'No rooms.\n' : formatRooms(found) };
  },
};

type CreateOptions = { emptyTimeout?: number; departureTimeout?: number; maxParticipants?: number; metadata?: string };

const createDefinition: Definition<CreateOptions> = {
  usage: 'create <room>',
  description: 'create a room, or change the settings of one that exists',
  example: 'demo --max-participants 10 --empty-timeout 600',
  options: (command) =>
    command
      .option('--empty-timeout <seconds>', 'seconds the room stays open before anybody joined', parseCount)
      .option('--departure-timeout <seconds>', 'seconds the room stays open after the last one left', parseCount)
      .option('--max-participants <count>', 'how many may join; 0 = no limit', parseCount)
      .option('--metadata <text>', 'metadata of the room'),
  run: async (rooms, [name = ''], options) => {
    const { emptyTimeout, departureTimeout, maxParticipants, metadata } = options;
    const room = await rooms.createRoom({
      name,
      ...(emptyTimeout === undefined ? {} : { emptyTimeout }),
      ...(departureTimeout === undefined ? {} : { departureTimeout }),
      ...(maxParticipants === undefined ? {} : { maxParticipants }),
      ...(metadata === undefined ? {} : { metadata }),
    });
    return roomOutcome(room);
  },
};

const deleteDefinition: Definition<object> = {
  usage: 'delete <room>',
  description: 'end a room; everybody in it is disconnected',
  example: 'demo',
  run: async (rooms, [name = '']) => {
    await rooms.deleteRoom(name);
    return done(`Room ${name} is deleted.`);
  },
};

const updateMetadataDefinition: Definition<object> = {
  usage: 'update-metadata <room> <metadata>',
  description: 'set the metadata of a room',
  example: `demo '{"topic":"planning"}'`,
  run: async (rooms, [name = '', metadata = '']) => roomOutcome(await rooms.updateRoomMetadata(name, metadata)),
};

const participantsDefinition: Definition<object> = {
  usage: 'participants <room>',
  description: 'list who is in a room, with their tracks',
  example: 'demo',
  run: async (rooms, [name = '']) => {
    const found = await rooms.listParticipants(name);
    return { json: found.map(toJson), text: found.length === 0 ? 'Nobody is there.\n' : formatParticipants(found) };
  },
};

const participantDefinition: Definition<object> = {
  usage: 'participant <room> <identity>',
  description: 'show one participant',
  example: 'demo ana --json',
  run: async (rooms, [name = '', identity = '']) => participantOutcome(await rooms.getParticipant(name, identity)),
};

const permissions: Record<string, Partial<ParticipantPermission>> = {
  publish: { canPublish: true },
  subscribe: { canSubscribe: true },
  'publish-data': { canPublishData: true },
  'update-metadata': { canUpdateMetadata: true },
  hidden: { hidden: true },
};

type UpdateParticipantOptions = {
  name?: string;
  metadata?: string;
  attribute?: Record<string, string>;
  permission?: string[];
};

const updateParticipantDefinition: Definition<UpdateParticipantOptions> = {
  usage: 'update-participant <room> <identity>',
  description: 'change name, metadata, attributes or permissions of a participant',
  example: 'demo ana --permission subscribe publish-data',
  options: (command) =>
    command
      .option('--name <name>', 'name that others see')
      .option('--metadata <text>', 'metadata of the participant')
      .option('--attribute <key=value>', 'attribute to set, or to delete with "key="; may be repeated', parseAttribute)
      .addOption(
        new Option(
          '--permission <right...>',
          'all that the participant may do; what is not named is withdrawn',
        ).choices(Object.keys(permissions)),
      ),
  run: async (rooms, [room = '', identity = ''], options) => {
    const { name, metadata, attribute, permission } = options;
    const updated = await rooms.updateParticipant(room, identity, {
      ...(name === undefined ? {} : { name }),
      ...(metadata === undefined ? {} : { metadata }),
      ...(attribute === undefined ? {} : { attributes: attribute }),
      ...(permission === undefined ? {} : { permission: toPermission(permission) }),
    });
    return participantOutcome(updated);
  },
};

function toPermission(rights: string[]): ParticipantPermission {
  const permission = new ParticipantPermission();
  for (const right of rights) {
    Object.assign(permission, permissions[right]);
  }
  return permission;
}

const removeDefinition: Definition<object> = {
  usage: 'remove <room> <identity>',
  description: 'disconnect a participant, who may join again while the token is good',
  example: 'demo ana',
  run: async (rooms, [room = '', identity = '']) => {
    await rooms.removeParticipant(room, identity);
    return done(`${identity} is removed from ${room}.`);
  },
};

const muteDefinition: Definition<{ unmute?: boolean }> = {
  usage: 'mute <room> <identity> [track-sid...]',
  description: 'mute tracks of a participant; all of them when none is named',
  example: 'demo ana',
  options: (command) =>
    command.option('--unmute', 'unmute instead; the server refuses this unless room.enable_remote_unmute is set'),
  run: async (rooms, [room = '', identity = '', ...named], options) => {
    const muted = options.unmute !== true;
    const trackSids = named.length > 0 ? named : participantTracks(await rooms.getParticipant(room, identity));
    if (trackSids.length === 0) {
      throw nothingToMute(identity);
    }
    const tracks = await Promise.all(trackSids.map((sid) => rooms.mutePublishedTrack(room, identity, sid, muted)));
    return { ...done(`${muted ? 'Muted' : 'Unmuted'}: ${trackSids.join(', ')}`), json: tracks.map(toJson) };
  },
};

const subscribeDefinition: Definition<{ unsubscribe?: boolean }> = {
  usage: 'subscribe <room> <identity> <track-sid...>',
  description: 'let a participant receive tracks of others, or no longer',
  example: 'demo ana TR_VCabc --unsubscribe',
  options: (command) => command.option('--unsubscribe', 'stop receiving them'),
  run: async (rooms, [room = '', identity = '', ...trackSids], options) => {
    const subscribe = options.unsubscribe !== true;
    await rooms.updateSubscriptions(room, identity, trackSids, subscribe);
    return done(`${identity} ${subscribe ? 'receives' : 'no longer receives'} ${trackSids.join(', ')}.`);
  },
};

type SendDataOptions = { to?: string[]; topic?: string; lossy?: boolean };

const sendDataDefinition: Definition<SendDataOptions> = {
  usage: 'send-data <room> <text>',
  description: 'send a data message to everybody in a room, or to some',
  example: 'demo "The meeting ends in five minutes" --topic notice',
  options: (command) =>
    command
      .option('--to <identity...>', 'who gets it; everybody when not given')
      .option('--topic <topic>', 'topic that the app listens for')
      .option('--lossy', 'send it once, without making sure that it arrives'),
  run: async (rooms, [room = '', text = ''], options) => {
    const kind = options.lossy === true ? DataPacket_Kind.LOSSY : DataPacket_Kind.RELIABLE;
    await rooms.sendData(room, new TextEncoder().encode(text), kind, {
      ...(options.to === undefined ? {} : { destinationIdentities: options.to }),
      ...(options.topic === undefined ? {} : { topic: options.topic }),
    });
    return done(`Sent to ${options.to?.join(', ') ?? `everybody in ${room}`}.`);
  },
};
