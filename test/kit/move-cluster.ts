/** A room host with a gateway and several leg nodes inside this process, between which a test moves participants. */
import type { LegNode } from '../../src/leg/leg-node.ts';
import type { RoomHostNode } from '../../src/host/room-host-node.ts';
import type { WorkerPool } from '../../src/media/worker-pool.ts';
import type { DrainLeg } from '../../src/placement/drain-plan.ts';
import { nodeId, type NodeId, type ParticipantSid } from '../../src/protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../../src/protocol/leg-messages.ts';
import type { LegMoveAction } from '../../src/room/move-state.ts';
import { freePort, freePortRange } from './free-ports.ts';
import { findWorker } from './light/build.ts';
import { LogRecord } from './log-record.ts';
import { PeerLinks } from './peer-links.ts';
import { devKey } from './tokens.ts';
import { until } from './until.ts';

export type MoveCluster = {
  url: string;
  host: RoomHostNode;
  places: Place[];
  links: PeerLinks;
  log: LogRecord;
  /** One more leg node; its pool is the caller's to close. */
  addPlace(): Promise<Place>;
  /** Where participants that join from now on are. */
  setHome(place: Place): void;
  /** Participants of a room on a node, as the planner of moves sees them. */
  legsOn(place: Place, roomName: string): DrainLeg[];
  legOf(place: Place, sid: string): DrainLeg | undefined;
  perform(action: LegMoveAction): void;
  /** Makes legs ready on the other node. */
  prepare(roomName: string, sids: string[], from: Place, to: Place): Promise<void>;
  /** Tells those clients that are ready for it, and the others as soon as they are. */
  trigger(roomName: string, sids: string[], from: Place): void;
  /** Waits until nothing of these participants is on the node any more. */
  left(from: Place, sids: string[], timeoutMs?: number): Promise<void>;
  close(): Promise<void>;
};

export type Place = { id: NodeId; node: LegNode; pool: WorkerPool };

/**
 * @param names of the leg nodes; the first one is where participants join
 * @param rtc options over those of the tests
 */
export async function startMoveCluster(names: string[], rtc: Record<string, unknown> = {}): Promise<MoveCluster> {
  const worker = await findWorker();
  if (worker !== undefined) process.env['MEDIASOUP_WORKER_BIN'] = worker;
  // mediasoup looks for its worker while it is being loaded.
  const parts = await Promise.all([
    import('../../src/leg/leg-node.ts'),
    import('../../src/host/room-host-node.ts'),
    import('../../src/roles/public-face.ts'),
    import('../../src/roles/node-parts.ts'),
    import('../../src/host/room-settings.ts'),
    import('../../src/cluster/memory-directory.ts'),
    import('../../src/cluster/memory-link.ts'),
    import('../../src/cluster/wire-messages.ts'),
    import('../../src/cluster/wire-codec.ts'),
    import('../../src/config/options.ts'),
    import('../../src/observe/metrics.ts'),
    import('../../src/api/room-client.ts'),
    import('./media-pool.ts'),
  ]);
  const [legs, hosts, faces, nodeParts, settings, directories, memory, wire, codec, options, metric, api, pools] =
    parts;
  const log = new LogRecord();
  const links = new PeerLinks();
  const port = await freePort();
  const config = options.configSchema.parse({
    port,
    bind_addresses: ['127.0.0.1'],
    keys: { [devKey.apiKey]: devKey.apiSecret },
    rtc: { pipe_linger: 1, ...rtc },
  });
  const places: Place[] = [];
  const addPlace = async (name: string): Promise<Place> => {
    const id = nodeId(name);
    const portRangeStart = await freePortRange(2);
    const pool = await pools.startTestPool({ portRangeStart, portRangeEnd: portRangeStart + 1 });
    const node = new legs.LegNode({ nodeId: id, pool, config, log: log.logger(), peers: links.connector(id) });
    links.add(id, node);
    const place = { id, node, pool };
    places.push(place);
    return place;
  };
  for (const name of names) await addPlace(name);
  const [first] = places;
  if (first === undefined) throw new Error('no leg node');
  let home = first;
  /** What a relay would do with the messages: they have to be plain data of a known shape. */
  const overWire = (message: HostToLeg | LegToHost): HostToLeg | LegToHost => {
    const decoded = codec.decodeMessage(codec.encodeMessage(message));
    const isToLeg = (wire.hostToLeg.kinds as string[]).includes(message.kind);
    const copy = isToLeg ? wire.hostToLeg.read(decoded) : wire.legToHost.read(decoded);
    if (copy === undefined) throw new Error(`unknown message ${JSON.stringify(message)}`);
    return copy;
  };
  const connect = (id: NodeId) => {
    const place = places.find((candidate) => candidate.id === id);
    const [hostEnd, legEnd] = memory.memoryLink<HostToLeg, LegToHost>({
      transfer: overWire as <Message>(message: Message) => Message,
    });
    if (place === undefined) hostEnd.close();
    else place.node.addHost(legEnd);
    return hostEnd;
  };
  const metrics = new metric.Metrics({ nodeId: first.id, nodeType: 'SERVER' });
  const directory = new directories.MemoryDirectory({ nodeId: first.id, now: () => performance.now() });
  const host = new hosts.RoomHostNode({
    settings: settings.toRoomSettings({ config, nodeId: first.id, now: Date.now }),
    registrar: directory,
    legPlacer: { choose: () => home.id, complaint: () => undefined, connect },
    webhooks: { publish: () => undefined },
    signRefreshToken: (token) => Promise.resolve(nodeParts.signRefresh(config, token)),
    random: nodeParts.randomSuffix,
    log: log.logger(),
  });
  host.attachLegs(connect(first.id));
  directory.attachHost((end) => host.acceptGateway(end));
  const client = new api.RoomClient({ connector: directory });
  const gateway = new faces.PublicFace({
    config,
    log: log.logger(),
    directory,
    client,
    metrics,
    health: () => ({ ready: true }),
    // Nobody asks for nodes here: tests plan moves by themselves.
    nodes: { list: () => Promise.resolve([]), get: noNode, step: noNode },
    certificates: undefined,
    turnBackends: undefined,
  });
  await gateway.start();
  const cluster: MoveCluster = {
    url: `http://127.0.0.1:${gateway.port}`,
    host,
    places,
    links,
    log,
    addPlace: () => addPlace(`added${places.length}`),
    setHome: (place) => {
      home = place;
    },
    legsOn: (place, roomName) => host.moves.on(place.id).legs.filter((leg) => leg.roomName === roomName),
    legOf: (place, sid) => host.moves.on(place.id).legs.find((leg) => leg.participantSid === sid),
    perform: (action) => host.moves.perform(action),
    prepare: async (roomName, sids, from, to) => {
      // As the leader of a drain does: one whose leg is still being made is asked for again.
      await until(
        () => {
          const waiting = sids.filter((sid) => cluster.legOf(from, sid)?.move.kind !== 'prepared');
          for (const sid of waiting) {
            if (cluster.legOf(from, sid)?.move.kind === 'staying') {
              cluster.perform({ kind: 'prepareLeg', roomName, participantSid: sid as ParticipantSid, target: to.id });
            }
          }
          return waiting.length === 0 ? '' : `not prepared: ${waiting.join()}\n${log.tail()}`;
        },
        { intervalMs: 50 },
      );
    },
    trigger: (roomName, sids, from) => {
      const ask = (): void => {
        const moving = sids.flatMap((sid) => {
          const leg = cluster.legOf(from, sid);
          const how = leg?.publishes === true ? ('resume' as const) : ('in-place' as const);
          return leg?.move.kind === 'prepared' ? [{ participantSid: leg.participantSid, how }] : [];
        });
        if (moving.length > 0) cluster.perform({ kind: 'triggerLegs', roomName, legs: moving });
        else clearInterval(again);
      };
      // As the leader of a drain does: a client that has just resumed is not told yet.
      const again = setInterval(ask, 100).unref();
      ask();
    },
    left: async (from, sids, timeoutMs = 20_000) => {
      await until(
        () => {
          const here = sids.flatMap((sid) => cluster.legOf(from, sid) ?? []);
          return here.length === 0 ? '' : `still on ${from.id}: ${JSON.stringify(here)}\n${log.tail()}`;
        },
        { timeoutMs },
      );
    },
    close: async () => {
      host.close('disconnect');
      await gateway.close();
      client.close();
      await Promise.all(places.map(({ node }) => node.close()));
      await Promise.all(places.map(({ pool }) => pool.close()));
      metrics.close();
      const complaints = log.unexpectedErrors();
      if (complaints.length > 0) throw new Error(`the log complains: ${JSON.stringify(complaints.slice(0, 5))}`);
    },
  };
  return cluster;
}

function noNode(): Promise<never> {
  return Promise.reject(new Error('there is no such node'));
}
