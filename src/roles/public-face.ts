/** What clients and API users see of a node: signal sockets, RoomService, meeting page. */
import path from 'node:path';
import { createAdminApi } from '../admin/admin-api.ts';
import { createMeetTokenHandler } from '../api/meet-token.ts';
import type { RoomClient } from '../api/room-client.ts';
import { createTwirpHandler } from '../api/twirp-handler.ts';
import type { HostConnector, RoomDirectory } from '../cluster/directory.ts';
import type { Config } from '../config/options.ts';
import type { NodeAdmin } from '../drain/node-admin.ts';
import { Gateway } from '../gateway/gateway.ts';
import type { HealthCheck } from '../gateway/http-route.ts';
import { createTokenVerifier } from '../gateway/token-verifier.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';

export type PublicFaceOptions = {
  config: Config;
  log: Logger;
  directory: RoomDirectory & HostConnector;
  client: RoomClient;
  metrics: Metrics;
  health: HealthCheck;
  nodes: NodeAdmin;
};

export function createPublicFace(options: PublicFaceOptions): Gateway {
  const { config, log, directory, client, metrics, health, nodes } = options;
  const meetToken = createMeetTokenHandler(config);
  return new Gateway({
    config,
    log,
    directory,
    connector: directory,
    twirp: createTwirpHandler({ directory, client, limits: config.limit, observer: metrics.twirp, log }),
    health,
    admin: createAdminApi({ nodes, config, log }),
    observer: metrics.gateway,
    verifier: createTokenVerifier(config.keys),
    ...(config.meet.enabled ? { staticDir: path.join(import.meta.dirname, '../../web/meet/dist') } : {}),
    ...(meetToken === undefined ? {} : { meetToken }),
  });
}
