/** What two nodes tell each other before anything else. */
import type { NodeId } from '../protocol/ids.ts';
import { badMessage } from './relay-errors.ts';
import type { RelayIdentity, RelayPeerFacts } from './relay-network.ts';
import { decodeMessage, encodeMessage } from './wire-codec.ts';
import { list, number, optional, shape, text } from './wire-shape.ts';

/** Versions of frames and hello that this program speaks. Messages have no version; see the rules in `relay-network.ts`. */
export const protocolRange = { min: 1, max: 1 } as const;

export type Hello = {
  minProtocol: number;
  maxProtocol: number;
  cluster: string;
  nodeId: string;
  role: string;
  software: string;
  features: string[];
  /** Whom the client means to talk to; absent in the server's hello. */
  expectedNodeId?: string;
  /** What the sender of this hello takes on one channel before it returns credit, and the largest message that it takes. */
  windowBytes: number;
  maxMessageBytes: number;
};

/**
 * `closing`: the node shuts down. `wrong-node`: the address belongs to another node now. `wrong-cluster`, `no-common-protocol`:
 * the nodes cannot work together. `bad-data`: something that could not be read. A newer node may give other reasons.
 */
export type GoodbyeReason = 'closing' | 'wrong-node' | 'wrong-cluster' | 'no-common-protocol' | 'bad-data';

export type Goodbye = { reason: string; detail: string };

export type OpenRequest = { channel: string; params: unknown };

const isHello = shape<Hello>({
  minProtocol: number,
  maxProtocol: number,
  cluster: text,
  nodeId: text,
  role: text,
  software: text,
  features: list(text),
  expectedNodeId: optional(text),
  windowBytes: number,
  maxMessageBytes: number,
});
const isGoodbye = shape<Goodbye>({ reason: text, detail: text });
const isOpenRequest = shape<OpenRequest>({ channel: text, params: () => true });

/** @throws PlenumError `relay-bad-message` */
export function readHello(body: Uint8Array): Hello {
  const hello = decodeMessage(body);
  if (!isHello(hello)) {
    throw badMessage('its hello cannot be understood');
  }
  return hello as Hello;
}

export function readGoodbye(body: Uint8Array): Goodbye {
  const goodbye = decodeMessage(body);
  return isGoodbye(goodbye) ? (goodbye as Goodbye) : { reason: 'unknown', detail: '' };
}

/** @throws PlenumError `relay-bad-message` */
export function readOpenRequest(body: Uint8Array): OpenRequest {
  const request = decodeMessage(body);
  if (!isOpenRequest(request)) {
    throw badMessage('it opens a channel without saying which');
  }
  return request as OpenRequest;
}

export function encodeGoodbye(reason: GoodbyeReason, detail: string): Uint8Array {
  return encodeMessage({ reason, detail } satisfies Goodbye);
}

export type Expectation = { self: RelayIdentity; cluster: string; nodeId: NodeId | undefined };

export type Verdict = { ok: true; facts: RelayPeerFacts } | { ok: false; reason: GoodbyeReason; detail: string };

/** Whether we can work with the node that sent this hello, and whether it and we are who the other means. */
export function judgeHello(hello: Hello, expected: Expectation): Verdict {
  const protocol = Math.min(hello.maxProtocol, protocolRange.max);
  if (protocol < Math.max(hello.minProtocol, protocolRange.min)) {
    const both = `${hello.minProtocol} to ${hello.maxProtocol} there, ${protocolRange.min} to ${protocolRange.max} here`;
    return { ok: false, reason: 'no-common-protocol', detail: `no common protocol version (${both})` };
  }
  if (hello.cluster !== expected.cluster) {
    return { ok: false, reason: 'wrong-cluster', detail: `cluster ${hello.cluster} there, ${expected.cluster} here` };
  }
  if (hello.expectedNodeId !== undefined && hello.expectedNodeId !== expected.self.nodeId) {
    return { ok: false, reason: 'wrong-node', detail: `this is ${expected.self.nodeId}, not ${hello.expectedNodeId}` };
  }
  if (expected.nodeId !== undefined && hello.nodeId !== expected.nodeId) {
    return { ok: false, reason: 'wrong-node', detail: `that is ${hello.nodeId}, not ${expected.nodeId}` };
  }
  const { role, software, features } = hello;
  return { ok: true, facts: { nodeId: hello.nodeId as NodeId, role, software, features, protocol } };
}
