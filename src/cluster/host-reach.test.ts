import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { LogRecord } from '../../test/kit/log-record.ts';
import { until } from '../../test/kit/until.ts';
import { nodeId } from '../protocol/ids.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import { HostReach } from './host-reach.ts';
import type { RelayPeer } from './relay-network.ts';
import { startRelay } from './relay-tcp-test-kit.ts';
import type { TcpRelay } from './relay-tcp.ts';

describe('HostReach', () => {
  const relays: TcpRelay[] = [];

  afterEach(() => Promise.all(relays.splice(0).map((relay) => relay.close())));

  async function start(suffix: string): Promise<TcpRelay> {
    const relay = await startRelay({ suffix, log: new LogRecord() });
    relays.push(relay);
    return relay;
  }

  /** What `near` says of a node that is known to be at this port. */
  async function reach(near: TcpRelay, suffix: string, port: number) {
    const peer: RelayPeer = { nodeId: nodeId(suffix), host: '127.0.0.1', port };
    const trusted: string[] = [];
    const nodes: Pick<ClusterNodes, 'peer' | 'trust' | 'suspect'> = {
      peer: () => peer,
      trust: () => trusted.push('trusted'),
      suspect: () => trusted.push('suspected'),
    };
    const answer = await new HostReach({ relay: near, nodes }).of(peer.nodeId);
    return [answer, trusted.at(-1)];
  }

  it('tells a node that answers from one whose process has ended', async () => {
    const near = await start('near');
    const far = await start('far');
    assert.deepEqual(await reach(near, 'far', far.port), ['answers', 'trusted']);
    const { port } = far;
    await far.close();
    // At first the end of the connection that stood is what is seen, which says little.
    await until(async () => {
      const [answer, trust] = await reach(near, 'far', port);
      return answer === 'gone' && trust === 'suspected' ? '' : `${answer}, ${trust}`;
    });
  });

  it('takes a node as ended when another one listens at its address', async () => {
    const near = await start('near');
    const successor = await start('successor');
    assert.deepEqual(await reach(near, 'old', successor.port), ['gone', 'suspected']);
  });
});
