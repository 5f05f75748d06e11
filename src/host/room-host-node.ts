/** All rooms of one node: takes links from gateways, holds the link to the legs, and drives a room for each name. */
import type { Logger } from '../observe/log.ts';
import type { RoomOwnership, RoomRegistrar } from '../cluster/directory.ts';
import type { Link } from '../cluster/link.ts';
import type { ConnectionId, LegId, NodeId, RandomSuffix } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import type { CommandResult, GatewayToHost, HostToGateway, JoinParameters } from '../protocol/session-messages.ts';
import { PlenumError } from '../lib/errors.ts';
import { answerWithoutRoom } from '../room/commands.ts';
import type { RoomCloseReason, RoomEffect } from '../room/events.ts';
import { refuseResume } from '../room/resume.ts';
import { Room } from '../room/room.ts';
import type { RoomSnapshot } from '../room/room.ts';
import { decodeSavedRoom, type SavedRoom } from '../room/saved-room.ts';
import type { RoomSettings } from '../room/settings.ts';
import { encodeSignal } from '../room/wire.ts';
import type { SignRefreshToken, WebhookSink } from './contracts.ts';
import { endRemains } from './failed-room.ts';
import { GatewayLinks, type GatewayLink } from './gateway-links.ts';
import { LegMoves } from './leg-moves.ts';
import { LegLinks, type LegPlacer } from './leg-links.ts';
import { OpeningRooms, type RoomAnswer } from './opening-rooms.ts';
import { RoomDriver, type DrivenRoom } from './room-driver.ts';

export type CreateRoom = (options: {
  name: string;
  nowMs: number;
  createdBy?: JoinParameters;
  saved?: SavedRoom;
}) => DrivenRoom;

export type RoomHostNodeOptions = {
  settings: RoomSettings;
  registrar: RoomRegistrar;
  /** Of a node in a cluster, in place of `registrar`: rooms are asked for before they are opened. */
  ownership?: RoomOwnership;
  /** Of a node in a cluster: legs may be on others. */
  legPlacer?: LegPlacer;
  webhooks: WebhookSink;
  signRefreshToken: SignRefreshToken;
  random: RandomSuffix;
  log: Logger;
  /** Unix milliseconds. */
  now?: () => number;
  /** Replaced in tests of rooms that fail. */
  createRoom?: CreateRoom;
};

export type RoomHostStats = {
  rooms: number;
  participants: number;
  connections: number;
  legs: number;
  gateways: number;
  pendingCommands: number;
  /** Rooms that were ended because their own code threw, since the start. */
  failedRooms: number;
};

export class RoomHostNode {
  readonly #options: RoomHostNodeOptions;
  readonly #now: () => number;
  readonly #createRoom: CreateRoom;
  readonly #drivers = new Map<string, RoomDriver>();
  readonly #driverByConnection = new Map<ConnectionId, RoomDriver>();
  readonly #driverByLeg = new Map<LegId, RoomDriver>();
  readonly #gateways: GatewayLinks;
  readonly #legs: LegLinks;
  readonly #opening: OpeningRooms | undefined;
  /** Moves participants of the rooms that are hosted here. */
  readonly legMoves: LegMoves;
  #failedRooms = 0;
  #isClosed = false;
  #whenEmpty: (() => void)[] = [];

  constructor(options: RoomHostNodeOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#createRoom =
      options.createRoom ?? ((room) => new Room({ ...room, settings: options.settings, random: options.random }));
    this.#gateways = new GatewayLinks({
      receive: (link, message) => this.#handleGateway(link, message),
      connectionLost: (connectionId) => this.#connectionLost(connectionId),
    });
    this.#legs = new LegLinks({
      nodeId: options.settings.nodeId as NodeId,
      placer: options.legPlacer,
      receive: (message) => this.#handleLeg(message),
      lost: (legs) => this.#legsLost(legs),
    });
    this.legMoves = new LegMoves({
      rooms: () => this.#drivers.values(),
      room: (roomName) => this.#drivers.get(roomName),
      homeOf: (leg) => this.#legs.homeOf(leg),
    });
    const { ownership } = options;
    ownership?.onLost((roomName) => this.#roomLost(roomName));
    this.#opening =
      ownership &&
      new OpeningRooms({
        ownership,
        open: (roomName, { epoch, parts }) =>
          this.#openRoom(roomName, { epoch, saved: parts === undefined ? undefined : decodeSavedRoom(parts) }),
        log: options.log,
      });
  }

  /** The link to the node's legs; all of them are lost when it closes. */
  attachLegs(link: Link<HostToLeg, LegToHost>): void {
    this.#legs.attachOwn(link);
  }

  /** A gateway, or the server API, opened a link. */
  acceptGateway(link: GatewayLink): void {
    if (this.#isClosed) {
      link.close();
      return;
    }
    this.#gateways.accept(link);
  }

  stats(): RoomHostStats {
    let participants = 0;
    for (const driver of this.#drivers.values()) {
      participants += driver.participantCount;
    }
    return {
      rooms: this.#drivers.size,
      participants,
      connections: this.#driverByConnection.size,
      legs: this.#driverByLeg.size,
      gateways: this.#gateways.size,
      pendingCommands: this.#gateways.pendingCommands,
      failedRooms: this.#failedRooms,
    };
  }

  snapshot(): RoomSnapshot[] {
    return [...this.#drivers.values()].map((driver) => driver.room.snapshot());
  }

  /** Resolves when the last room is finished; rejects with the signal's reason when it aborts first. */
  drain(signal: AbortSignal): Promise<void> {
    if (this.#drivers.size === 0) {
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.#whenEmpty = this.#whenEmpty.filter((waiting) => waiting !== empty);
        reject(signal.reason as Error);
      };
      const empty = (): void => {
        signal.removeEventListener('abort', aborted);
        resolve();
      };
      if (signal.aborted) {
        aborted();
        return;
      }
      signal.addEventListener('abort', aborted, { once: true });
      this.#whenEmpty.push(empty);
    });
  }

  /** Ends all rooms and links. Safe to call twice. */
  close(action: 'disconnect' | 'reconnect' = 'disconnect'): void {
    this.#isClosed = true;
    for (const driver of this.#drivers.values()) {
      driver.handle({ kind: 'shutdown', action });
    }
    this.#gateways.close();
    this.#legs.close();
  }

  /** Gives every room to another node, whose clients are told to join anew; no new room is taken from now on. */
  async moveRooms(): Promise<void> {
    this.#isClosed = true;
    const { ownership } = this.#options;
    const moves = [...this.#drivers.keys()].map(async (roomName) => {
      if ((await ownership?.handOver(roomName)) === true) {
        this.#roomLost(roomName);
      }
    });
    await Promise.all(moves);
  }

  #handleGateway(link: GatewayLink, message: GatewayToHost): void {
    switch (message.kind) {
      case 'join':
        return this.#join(link, message);
      case 'command':
        return this.#command(link, message);
      case 'signal':
        return this.#driverByConnection.get(message.connectionId)?.handle({ kind: 'gateway', message });
      case 'socketClosed':
        return this.#socketClosed(message);
    }
  }

  #join(link: GatewayLink, message: Extract<GatewayToHost, { kind: 'join' }>): void {
    const { connectionId, join } = message;
    this.#gateways.bind(connectionId, link);
    const existing = this.#drivers.get(join.roomName);
    if (existing === undefined && join.resume !== undefined) {
      this.#sendAll(refuseResume(connectionId));
      return;
    }
    if (this.#isClosed) {
      const inCluster: HostToGateway = { kind: 'notHere', connectionId };
      const alone: HostToGateway = { kind: 'refused', connectionId, status: 503, body: 'server is shutting down' };
      this.#sendAll([this.#opening === undefined ? alone : inCluster]);
      return;
    }
    if (existing === undefined && this.#opening !== undefined) {
      this.#opening.request(join.roomName, true, (answer) => this.#joinAnswered(link, message, answer));
      return;
    }
    const driver = existing ?? this.#openRoom(join.roomName, { createdBy: join });
    this.#driverByConnection.set(connectionId, driver);
    driver.handle({ kind: 'gateway', message });
  }

  #joinAnswered(link: GatewayLink, message: Extract<GatewayToHost, { kind: 'join' }>, answer: RoomAnswer): void {
    const { connectionId } = message;
    if (!this.#gateways.isBound(connectionId)) {
      // It has gone away meanwhile.
      return;
    }
    switch (answer.kind) {
      case 'opened':
        return this.#join(link, message);
      case 'elsewhere':
      case 'missing':
        return this.#sendAll([{ kind: 'notHere', connectionId }]);
      case 'failed': {
        const { error } = answer;
        const body = error instanceof PlenumError ? error.message : 'the room could not be opened';
        return this.#sendAll([{ kind: 'refused', connectionId, status: 503, body }]);
      }
    }
  }

  #command(link: GatewayLink, message: Extract<GatewayToHost, { kind: 'command' }>): void {
    const requestId = this.#gateways.expectResult(link, message.requestId);
    const { roomName, command } = message;
    if (this.#opening === undefined || this.#drivers.has(roomName) || this.#isClosed) {
      this.#runCommand(requestId, message);
      return;
    }
    const mayCreate = answerWithoutRoom(command.method) === undefined;
    this.#opening.request(roomName, mayCreate, (answer) => {
      switch (answer.kind) {
        case 'opened':
        case 'missing':
          return this.#runCommand(requestId, message);
        case 'elsewhere':
          return this.#sendAll([{ kind: 'commandResult', requestId, result: notHere }]);
        case 'failed':
          return this.#sendAll([{ kind: 'commandResult', requestId, result: toFailure(answer.error) }]);
      }
    });
  }

  #runCommand(requestId: number, message: Extract<GatewayToHost, { kind: 'command' }>): void {
    const { roomName, command } = message;
    const driver = this.#drivers.get(roomName);
    const missing = driver === undefined ? answerWithoutRoom(command.method) : undefined;
    if (missing !== undefined) {
      this.#sendAll([{ kind: 'commandResult', requestId, result: missing }]);
    } else if (this.#isClosed) {
      const result = this.#opening === undefined ? shuttingDown : notHere;
      this.#sendAll([{ kind: 'commandResult', requestId, result }]);
    } else if (driver === undefined && this.#opening !== undefined) {
      this.#sendAll([{ kind: 'commandResult', requestId, result: notHere }]);
    } else {
      const target = driver ?? this.#openRoom(roomName, {});
      target.handle({ kind: 'gateway', message: { kind: 'command', requestId, roomName, command } });
    }
  }

  #socketClosed(message: Extract<GatewayToHost, { kind: 'socketClosed' }>): void {
    const driver = this.#driverByConnection.get(message.connectionId);
    this.#forgetConnection(message.connectionId);
    driver?.handle({ kind: 'gateway', message });
  }

  #connectionLost(connectionId: ConnectionId): void {
    this.#socketClosed({ kind: 'socketClosed', connectionId, cause: 'gateway-shutdown' });
  }

  #handleLeg(message: LegToHost): void {
    const driver = 'leg' in message ? this.#driverByLeg.get(message.leg) : this.#drivers.get(message.roomName);
    driver?.handle({ kind: 'leg', message });
  }

  #legsLost(legs: LegId[]): void {
    for (const leg of legs) {
      const driver = this.#driverByLeg.get(leg);
      this.#driverByLeg.delete(leg);
      driver?.handle({ kind: 'leg', message: { kind: 'failed', leg, failure: 'worker-died', detail: 'node lost' } });
    }
  }

  /** Another node hosts the room, or it is to: its clients are told to join there, and nobody hears of an end. */
  #roomLost(roomName: string): void {
    const driver = this.#drivers.get(roomName);
    if (driver === undefined) {
      return;
    }
    const { connections, waiting, legs } = driver.remains();
    driver.abandon();
    this.#drivers.delete(roomName);
    this.#gateways.loseRoom(roomName, [...connections, ...waiting]);
    for (const connectionId of [...connections, ...waiting]) {
      this.#forgetConnection(connectionId);
    }
    for (const leg of legs) {
      this.#driverByLeg.delete(leg);
      this.#legs.send({ kind: 'close', leg, reason: 'host-lost' }, driver.epoch);
    }
    this.#options.log.info({ room: roomName, epoch: driver.epoch }, 'room left to another node');
    this.#tellWhenEmpty();
  }

  #openRoom(
    name: string,
    about: { createdBy?: JoinParameters; saved?: SavedRoom | undefined; epoch?: number },
  ): RoomDriver {
    const { createdBy, saved, epoch } = about;
    const room = this.#createRoom({
      name,
      nowMs: this.#now(),
      ...(createdBy === undefined ? {} : { createdBy }),
      ...(saved === undefined ? {} : { saved }),
    });
    const driver: RoomDriver = new RoomDriver({
      room,
      epoch,
      now: this.#now,
      perform: (effect) => this.#perform(driver, effect),
      closed: (reason) => this.#roomClosed(driver, reason),
      failed: (error) => this.#roomFailed(driver, error),
    });
    this.#drivers.set(name, driver);
    this.#options.log.info({ room: name, epoch, restored: saved !== undefined }, 'room opened');
    return driver;
  }

  #perform(driver: RoomDriver, effect: RoomEffect): void {
    switch (effect.kind) {
      case 'toGateway':
        return this.#sendToGateway(effect.message, driver.epoch);
      case 'toLeg':
        return this.#sendToLeg(driver, effect.message, effect.target);
      case 'webhook':
        // A node that reaches neither the store nor any gateway may have been replaced: it must not tell of an end.
        return this.#hasVoice() ? this.#options.webhooks.publish(effect.event) : undefined;
      case 'publishRoom':
        return (this.#options.ownership ?? this.#options.registrar).publish(driver.room.name, effect.room);
      case 'save':
        return this.#options.ownership?.save(driver.room.name, effect.parts);
      case 'refreshToken':
        return this.#refreshToken(effect);
      case 'log':
        return this.#options.log[effect.level](effect.fields, effect.message);
      case 'closed':
        return;
    }
  }

  #hasVoice(): boolean {
    const { ownership } = this.#options;
    return ownership === undefined || ownership.isConfirmed() || this.#gateways.size > 0;
  }

  #sendToGateway(message: HostToGateway, epoch?: number): void {
    this.#gateways.send(message, epoch);
    if (message.kind === 'refused' || message.kind === 'closeSocket' || message.kind === 'notHere') {
      this.#forgetConnection(message.connectionId);
    }
  }

  #sendAll(messages: HostToGateway[]): void {
    for (const message of messages) {
      this.#sendToGateway(message);
    }
  }

  #forgetConnection(connectionId: ConnectionId): void {
    this.#driverByConnection.delete(connectionId);
    this.#gateways.unbind(connectionId);
  }

  #sendToLeg(driver: RoomDriver, message: HostToLeg, target?: NodeId): void {
    if (message.kind === 'open') {
      this.#driverByLeg.set(message.leg, driver);
    } else if (message.kind === 'close') {
      this.#driverByLeg.delete(message.leg);
    }
    if (!this.#legs.send(message, driver.epoch, target) && message.kind === 'open') {
      // Without legs no session can work; the client is told at once instead of waiting for its join to time out.
      driver.handle({
        kind: 'leg',
        message: { kind: 'failed', leg: message.leg, failure: 'worker-died', detail: 'no legs' },
      });
    }
  }

  #refreshToken(effect: Extract<RoomEffect, { kind: 'refreshToken' }>): void {
    const { connectionId, token } = effect;
    this.#options.signRefreshToken(token).then(
      (signed) => {
        const message = encodeSignal({ case: 'refreshToken', value: signed });
        this.#gateways.send({ kind: 'send', connectionIds: [connectionId], message });
      },
      (error: unknown) =>
        this.#options.log.error({ err: error, room: token.roomName }, 'refresh token could not be signed'),
    );
  }

  #roomFailed(driver: RoomDriver, error: unknown): void {
    this.#failedRooms += 1;
    this.#options.log.error({ err: error, room: driver.room.name }, 'room failed and is closed');
    const { toGateway, toLegs } = endRemains(driver.remains());
    this.#sendAll(toGateway);
    for (const message of toLegs) {
      this.#sendToLeg(driver, message);
    }
  }

  #roomClosed(driver: RoomDriver, reason: RoomCloseReason): void {
    this.#drivers.delete(driver.room.name);
    (this.#options.ownership ?? this.#options.registrar).release(driver.room.name);
    this.#options.log.info({ room: driver.room.name, reason }, 'room closed');
    this.#tellWhenEmpty();
  }

  #tellWhenEmpty(): void {
    if (this.#drivers.size === 0) {
      for (const empty of this.#whenEmpty.splice(0)) {
        empty();
      }
    }
  }
}

/** The caller asks the directory again. */
const notHere: CommandResult = {
  ok: false,
  code: 'unavailable',
  message: 'the room is between two nodes',
  meta: { reason: 'not-here' },
};

function toFailure(error: unknown): CommandResult {
  return error instanceof PlenumError
    ? { ok: false, code: error.code, message: error.message, meta: { reason: error.reason } }
    : { ok: false, code: 'internal', message: 'the room could not be opened' };
}

const shuttingDown: CommandResult = { ok: false, code: 'unavailable', message: 'server is shutting down' };
