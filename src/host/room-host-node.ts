/** All rooms of one node: takes links from gateways, holds the link to the legs, and drives a room for each name. */
import type { RoomOwnership } from '../cluster/directory.ts';
import type { Link } from '../cluster/link.ts';
import type { ConnectionId, LegId, NodeId } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import type { CommandResult, GatewayToHost, HostToGateway, JoinParameters } from '../protocol/session-messages.ts';
import { PlenumError } from '../lib/errors.ts';
import { answerWithoutRoom } from '../room/commands.ts';
import type { RoomCloseReason, RoomEffect } from '../room/events.ts';
import { refuseResume } from '../room/resume.ts';
import { Room } from '../room/room.ts';
import type { RoomSnapshot } from '../room/room.ts';
import { decodeSavedRoom, type SavedRoom } from '../room/saved-room.ts';
import { notHere, roomMoved, shuttingDown, toFailure } from './command-results.ts';
import type { CreateRoom, RoomHostNodeOptions, RoomHostStats } from './contracts.ts';
import { sendAway, sendRefreshToken, type TokenPort } from './send-tokens.ts';
import { endRemains } from './failed-room.ts';
import { GatewayLinks, type GatewayLink } from './gateway-links.ts';
import { HostMoves } from './host-moves.ts';
import { LegHomes } from './leg-homes.ts';
import { LegLinks } from './leg-links.ts';
import { LegMoves } from './leg-moves.ts';
import { OpeningRooms, type OwnedRoom, type RoomAnswer } from './opening-rooms.ts';
import { Restatements, type Collected } from './restatements.ts';
import { decodeRoomNodes, encodeRoomNodes } from '../cluster/room-nodes.ts';
import { sortUnheard } from './unheard-events.ts';
import { Waiters } from './waiters.ts';
import { RoomDriver } from './room-driver.ts';
import type { RoomMoves } from './room-moves.ts';

/** How long a new host waits for nodes that are alive and do not answer. */
const collectTimeoutMs = 400;

export class RoomHostNode {
  /** Its rooms on their way to other nodes. */
  readonly moves: RoomMoves;
  readonly #options: RoomHostNodeOptions;
  readonly #now: () => number;
  readonly #createRoom: CreateRoom;
  readonly #drivers = new Map<string, RoomDriver>();
  readonly #driverByConnection = new Map<ConnectionId, RoomDriver>();
  readonly #driverByLeg = new Map<LegId, RoomDriver>();
  readonly #gateways: GatewayLinks;
  readonly #legs: LegLinks;
  readonly #opening: OpeningRooms | undefined;
  readonly #restatements: Restatements;
  /** Rooms that wait to be allowed to act. */
  readonly #silent = new Set<RoomDriver>();
  readonly #legHomes: LegHomes;
  #failedRooms = 0;
  #isClosed = false;
  readonly #whenEmpty = new Waiters();

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
      receive: (message, nodeId) => this.#handleLeg(message, nodeId),
      lost: (legs) => this.#legsLost(legs),
      unlinked: (nodeId) => this.#restatements.unlinked(nodeId),
      changed: (roomName) => this.#saveNodes(roomName),
      placed: (leg) => this.#legHomes.placed(leg),
    });
    this.#legHomes = new LegHomes({
      homeOf: (leg) => (options.legPlacer === undefined ? undefined : this.#legs.homeOf(leg)),
      tell: (connectionId, nodeId) => this.#gateways.send({ kind: 'legHome', connectionId, nodeId }),
    });
    this.#restatements = new Restatements({
      ask: (nodeId, roomName, epoch) => this.#legs.ask(nodeId, roomName, epoch),
      isDoubtful: (nodeId) => options.legPlacer?.isTrusted?.(nodeId) === false,
      timeoutMs: collectTimeoutMs,
    });
    const { ownership } = options;
    ownership?.onLost((roomName) => this.#roomLost(roomName));
    ownership?.onVoice(() => this.#voiceBack());
    this.#opening =
      ownership &&
      new OpeningRooms({
        ownership,
        open: (roomName, grant, createdBy) => this.#openOwned(ownership, roomName, { grant, createdBy }),
        log: options.log,
      });
    const hosts = new HostMoves({
      nodeId: options.settings.nodeId as NodeId,
      rooms: () => this.#drivers.keys(),
      legNodes: (roomName) => this.#legs.nodesOf(roomName),
      move: (roomName, target) => this.#moveRoom(roomName, target),
      now: () => performance.now(),
    });
    this.moves = new LegMoves({ hosts, drivers: this.#drivers, homeOf: (leg) => this.#legs.homeOf(leg) });
  }

  /** Legs of a room that this node may host are on another one and have no host. */
  legsHere(nodeId: NodeId, roomName: string): void {
    const ask = (): void => {
      const driver = this.#drivers.get(roomName);
      if (driver?.epoch !== undefined) {
        this.#legs.ask(nodeId, roomName, driver.epoch);
      }
    };
    if (this.#drivers.has(roomName)) {
      ask();
    } else if (!this.#isClosed) {
      this.#opening?.request(roomName, {}, ask);
    }
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
    return this.#drivers.size === 0 ? Promise.resolve() : this.#whenEmpty.wait(signal);
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
    await Promise.all([...this.#drivers.keys()].map((roomName) => this.#moveRoom(roomName, undefined)));
  }

  /** @returns whether another node has the room now */
  async #moveRoom(roomName: string, target: NodeId | undefined): Promise<boolean> {
    this.#drivers.get(roomName)?.handle({ kind: 'moving' });
    const successor = await this.#options.ownership?.handOver(roomName, target);
    if (successor !== undefined) {
      this.#roomLost(roomName, successor);
    }
    return successor !== undefined;
  }

  #handleGateway(link: GatewayLink, message: GatewayToHost): void {
    switch (message.kind) {
      case 'join':
        return this.#join(link, message);
      case 'command':
        return this.#command(link, message);
      case 'signal':
        return this.#signal(link, message);
      case 'attach':
        return this.#attach(link, message);
      case 'superseded':
        return this.#options.ownership?.superseded(message.roomName, message.epoch);
      case 'socketClosed':
        return this.#socketClosed(message);
    }
  }

  #join(link: GatewayLink, message: Extract<GatewayToHost, { kind: 'join' }>): void {
    const { connectionId, join } = message;
    this.#gateways.bind(connectionId, link);
    const existing = this.#drivers.get(join.roomName);
    if (existing === undefined && join.resume !== undefined && this.#opening === undefined) {
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
      // Only masters place rooms: one that the store does not know is not made here, past every limit.
      const request = join.resume === undefined ? { createdBy: join } : {};
      this.#opening.request(join.roomName, request, (answer) => this.#joinAnswered(link, message, answer));
      return;
    }
    const noRoom = join.resume === undefined ? this.#legs.complaint(join.roomName, join.identity) : undefined;
    if (noRoom !== undefined) {
      this.#sendAll([{ kind: 'refused', connectionId, status: 503, body: noRoom }]);
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
      case 'missing':
        return this.#sendAll(
          message.join.resume === undefined ? [{ kind: 'notHere', connectionId }] : refuseResume(connectionId),
        );
      case 'elsewhere':
        return this.#sendAll([{ kind: 'notHere', connectionId }]);
      case 'failed': {
        const { error } = answer;
        const body = error instanceof PlenumError ? error.message : 'the room could not be opened';
        return this.#sendAll([{ kind: 'refused', connectionId, status: 503, body }]);
      }
    }
  }

  #signal(link: GatewayLink, message: Extract<GatewayToHost, { kind: 'signal' }>): void {
    const driver = this.#driverByConnection.get(message.connectionId);
    if (driver !== undefined) {
      driver.handle({ kind: 'gateway', message });
    } else if (this.#opening !== undefined) {
      // The room was given away before this came; the gateway knows where to, or will.
      link.send({ kind: 'returned', connectionId: message.connectionId, message: message.message });
    }
  }

  #attach(link: GatewayLink, message: Extract<GatewayToHost, { kind: 'attach' }>): void {
    const { connectionId, roomName, participantSid } = message;
    this.#gateways.bind(connectionId, link);
    const driver = this.#drivers.get(roomName);
    if (driver !== undefined && !this.#isClosed) {
      this.#driverByConnection.set(connectionId, driver);
      driver.handle({ kind: 'gateway', message });
      this.#legHomes.bind(participantSid, connectionId);
      return;
    }
    if (this.#opening === undefined || this.#isClosed) {
      this.#sendAll([{ kind: 'notHere', connectionId }]);
      return;
    }
    this.#opening.request(roomName, {}, (answer) => {
      if (this.#gateways.isBound(connectionId) && answer.kind === 'opened') {
        this.#attach(link, message);
      } else {
        this.#sendAll([{ kind: 'notHere', connectionId }]);
      }
    });
  }

  #command(link: GatewayLink, message: Extract<GatewayToHost, { kind: 'command' }>): void {
    const requestId = this.#gateways.expectResult(link, message.requestId);
    const { roomName } = message;
    if (this.#opening === undefined || this.#drivers.has(roomName) || this.#isClosed) {
      this.#runCommand(requestId, message);
      return;
    }
    this.#opening.request(roomName, {}, (answer) => {
      switch (answer.kind) {
        case 'opened':
        case 'missing':
          return this.#runCommand(requestId, message);
        case 'elsewhere':
          return this.#answer(requestId, notHere);
        case 'failed':
          return this.#answer(requestId, toFailure(answer.error));
      }
    });
  }

  #runCommand(requestId: number, message: Extract<GatewayToHost, { kind: 'command' }>): void {
    const { roomName, command } = message;
    const driver = this.#drivers.get(roomName);
    const missing = driver === undefined ? answerWithoutRoom(command.method) : undefined;
    if (missing !== undefined) {
      this.#answer(requestId, missing);
    } else if (this.#isClosed) {
      this.#answer(requestId, this.#opening === undefined ? shuttingDown : notHere);
    } else if (driver === undefined && this.#opening !== undefined) {
      this.#answer(requestId, notHere);
    } else {
      const target = driver ?? this.#openRoom(roomName, {});
      target.handle({ kind: 'gateway', message: { kind: 'command', requestId, roomName, command } });
    }
  }

  #answer(requestId: number, result: CommandResult): void {
    this.#sendAll([{ kind: 'commandResult', requestId, result }]);
  }

  #socketClosed(message: Extract<GatewayToHost, { kind: 'socketClosed' }>): void {
    const driver = this.#driverByConnection.get(message.connectionId);
    this.#forgetConnection(message.connectionId);
    driver?.handle({ kind: 'gateway', message });
  }

  #connectionLost(connectionId: ConnectionId): void {
    this.#socketClosed({ kind: 'socketClosed', connectionId, cause: 'gateway-shutdown' });
  }

  #handleLeg(message: LegToHost, nodeId: NodeId): void {
    if (this.#restatements.receive(message, nodeId)) {
      return;
    }
    if (message.kind === 'superseded') {
      this.#options.ownership?.superseded(message.roomName, message.epoch);
      return;
    }
    if (message.kind === 'restated') {
      this.#restatedLate(message, nodeId);
      return;
    }
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

  /** Another node hosts the room, or it is to: gateways and legs go on with that one, and nobody hears of an end. */
  #roomLost(roomName: string, successor?: NodeId): void {
    const driver = this.#drivers.get(roomName);
    if (driver === undefined) {
      return;
    }
    const { connections, waiting, legs, commands } = driver.remains();
    const { signals, answers, unheard } = sortUnheard(driver.abandon());
    this.#drivers.delete(roomName);
    this.#silent.delete(driver);
    this.#gateways.loseRoom(roomName, [...connections, ...waiting], successor);
    this.#sendAll(signals);
    for (const requestId of commands) {
      this.#answer(requestId, unheard.has(requestId) ? notHere : roomMoved);
    }
    for (const connectionId of [...connections, ...waiting]) {
      this.#forgetConnection(connectionId);
    }
    for (const leg of legs) {
      this.#driverByLeg.delete(leg);
      this.#legHomes.forget(leg);
    }
    this.#legs.release({ kind: 'release', roomName, answers }, driver.epoch);
    this.#options.log.info({ room: roomName, epoch: driver.epoch }, 'room left to another node');
    this.#tellWhenEmpty();
  }

  /** Opens a room that the store has granted, with all that an earlier host has left of it. */
  async #openOwned(
    ownership: RoomOwnership,
    roomName: string,
    { grant, createdBy }: { grant: OwnedRoom; createdBy: JoinParameters | undefined },
  ): Promise<boolean> {
    const { epoch, parts } = grant;
    const saved = parts === undefined ? undefined : decodeSavedRoom(parts);
    let collected: Collected | undefined;
    if (saved !== undefined) {
      const { nodeId } = this.#options.settings;
      this.#legs.collect(roomName);
      collected = await this.#restatements.collect(roomName, epoch, [nodeId as NodeId, ...decodeRoomNodes(parts)]);
    }
    if (ownership.epochOf(roomName) !== epoch || this.#isClosed) {
      return false;
    }
    const driver = this.#openRoom(roomName, { epoch, saved, ...(createdBy === undefined ? {} : { createdBy }) });
    driver.handle({ kind: 'deadline' });
    if (collected !== undefined) {
      this.#takeLegs(driver, collected);
      this.#legs.collected(roomName, epoch);
      return true;
    }
    // Nobody is told a sid that the next host would not know.
    driver.hold();
    void ownership.saved(roomName).finally(() => driver.release());
    return true;
  }

  #takeLegs(driver: RoomDriver, { legs, isComplete, messages }: Collected): void {
    const { epoch } = driver;
    const roomName = driver.room.name;
    for (const { leg, nodeId } of legs) {
      this.#legs.adopt(leg.leg, nodeId, { roomName, epoch });
      this.#driverByLeg.set(leg.leg, driver);
      driver.adopt(leg.leg);
    }
    driver.handle({ kind: 'restated', legs: legs.map(({ leg }) => leg), isComplete });
    for (const { leg } of legs) {
      // Those that are not wanted any more are closed by now.
      if (this.#driverByLeg.has(leg.leg)) {
        this.#legHomes.carries(leg.leg);
      }
    }
    for (const message of messages) {
      if ('leg' in message) {
        this.#driverByLeg.get(message.leg)?.handle({ kind: 'leg', message });
      }
    }
    this.#options.log.info({ room: roomName, epoch, legs: legs.length, isComplete }, 'legs go on under this host');
  }

  /** A node that was slow, or that found this host by itself. */
  #restatedLate(message: Extract<LegToHost, { kind: 'restated' }>, nodeId: NodeId): void {
    const driver = this.#drivers.get(message.roomName);
    const epoch = driver?.epoch;
    if (driver === undefined || epoch === undefined || this.#driverByLeg.has(message.leg)) {
      return;
    }
    if (message.epoch >= epoch) {
      // It was a leg of this very host, which gave it up when it lost the way to it.
      this.#legs.adopt(message.leg, nodeId, { roomName: message.roomName, epoch });
      this.#legs.send({ kind: 'close', leg: message.leg, reason: 'connection-lost' }, epoch);
      return;
    }
    this.#takeLegs(driver, { legs: [{ nodeId, leg: message }], isComplete: false, messages: [] });
  }

  /** For the next host: where the room's legs are. */
  #saveNodes(roomName: string): void {
    const { ownership } = this.#options;
    if (ownership !== undefined && this.#drivers.has(roomName)) {
      ownership.save(roomName, [encodeRoomNodes(this.#legs.nodesOf(roomName))]);
    }
  }

  #voiceBack(): void {
    for (const driver of this.#silent) {
      this.#silent.delete(driver);
      driver.poke();
    }
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
      mayAct: () => this.#options.ownership?.mayAct(name) ?? true,
      silenced: () => this.#silent.add(driver),
      overflowed: () => this.#roomLost(name),
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
        return effect.message.kind === 'commandResult' && this.#options.ownership !== undefined
          ? void this.#answerOnceStated(driver, effect.message, this.#options.ownership)
          : this.#sendToGateway(effect.message, driver.epoch);
      case 'toLeg':
        return this.#sendToLeg(driver, effect.message, effect.target);
      case 'webhook':
        return this.#options.webhooks.publish(effect.event);
      case 'publishRoom':
        return (this.#options.ownership ?? this.#options.registrar).publish(driver.room.name, effect.room);
      case 'save':
        return this.#options.ownership?.save(driver.room.name, effect.parts);
      case 'refreshToken':
        return sendRefreshToken(effect, this.#tokenPort);
      case 'sendAway':
        return sendAway(effect, this.#tokenPort);
      case 'log':
        return this.#options.log[effect.level](effect.fields, effect.message);
      case 'closed':
        return;
    }
  }

  /** Who is told that a room was changed or ended finds it so in the list of rooms, whichever master it asks. */
  async #answerOnceStated(driver: RoomDriver, result: HostToGateway, ownership: RoomOwnership): Promise<void> {
    // The room's other effects of this step come first.
    await Promise.resolve();
    await ownership.stated(driver.room.name);
    this.#sendToGateway(result, driver.epoch);
  }

  #sendToGateway(message: HostToGateway, epoch?: number): void {
    this.#gateways.send(message, epoch);
    if (message.kind === 'accepted' && message.participantSid !== undefined) {
      this.#legHomes.bind(message.participantSid, message.connectionId);
    }
    if (message.kind === 'refused' || message.kind === 'closeSocket' || message.kind === 'notHere') {
      this.#forgetConnection(message.connectionId);
    }
  }

  get #tokenPort(): TokenPort {
    const { signRefreshToken, log } = this.#options;
    return { sign: signRefreshToken, send: (message) => this.#sendToGateway(message), log };
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
    this.#legHomes.follow(message);
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
      this.#whenEmpty.wake();
    }
  }
}
