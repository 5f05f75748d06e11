/** Desired against actual subscriptions of one connection: what has to be done, correct from any state. */
import type { MediaKind, WantedSubscription } from '../protocol/leg-messages.ts';

/** A subscription that holds a slot. */
export type HeldSubscription = {
  trackSid: string;
  producerId: string;
  kind: MediaKind;
  /** Its consumer carries transport-wide congestion control. */
  transportCc: boolean;
  /** The producer closed; the consumer is gone. */
  ended: boolean;
  /** Its slot was taken over from another leg; a consumer has yet to be made. */
  awaitsConsumer?: boolean;
  /** A consumer of the producer that is going to carry the track is ready. */
  successorId?: string | undefined;
  /** What it serves. */
  want: Pick<WantedSubscription, 'generation'>;
};

/** A producer that can be consumed here. */
export type AvailableProducer = { kind: MediaKind; adaptable: boolean };

export type SubscriptionAction =
  | { kind: 'close'; trackSid: string }
  | { kind: 'open'; want: WantedSubscription; transportCc: boolean }
  /** A new consumer in the same slot: only its transport parameters change. */
  | { kind: 'reopen'; want: WantedSubscription; transportCc: boolean }
  /** The publisher is about to move: a consumer of its next producer beside the present one. */
  | { kind: 'readySuccessor'; want: WantedSubscription; transportCc: boolean; producerId: string }
  | { kind: 'dropSuccessor'; trackSid: string }
  /** The publisher has moved: its next producer takes over the slot. */
  | { kind: 'swap'; want: WantedSubscription; transportCc: boolean }
  /** Settings may differ; applying equal ones is free. */
  | { kind: 'tune'; want: WantedSubscription };

export type SubscriptionView = {
  desired: readonly WantedSubscription[];
  held: ReadonlyMap<string, HeldSubscription>;
  /** Producers by track sid that ended in a final state for this subscriber (codec refused). */
  refused: ReadonlyMap<string, string>;
  producer: (producerId: string) => AvailableProducer | undefined;
};

export type SubscriptionPlan = {
  actions: SubscriptionAction[];
  /** Tracks whose producer does not exist (yet). */
  missing: string[];
};

/**
 * Bandwidth estimation costs about 40 % of a forwarded packet, so it runs only where there is something to adapt: with
 * one adaptable video all videos of the connection carry transport-cc (the estimator needs all their packets), else none.
 */
function needsTransportCc(view: SubscriptionView): boolean {
  return view.desired.some((want) => want.kind === 'video' && view.producer(want.producerId)?.adaptable === true);
}

export function planSubscriptions(view: SubscriptionView): SubscriptionPlan {
  const transportCc = needsTransportCc(view) || keepsTransportCc(view);
  const desired = new Map(view.desired.map((want) => [want.trackSid as string, want]));
  const closes: SubscriptionAction[] = [];
  for (const held of view.held.values()) {
    if (hasEnded(view, held, desired.get(held.trackSid))) {
      closes.push({ kind: 'close', trackSid: held.trackSid });
    }
  }
  const rest: SubscriptionAction[] = [];
  const missing: string[] = [];
  for (const want of desired.values()) {
    if (view.refused.get(want.trackSid) === want.producerId) {
      continue;
    }
    const held = view.held.get(want.trackSid);
    const cc = want.kind === 'video' && transportCc;
    const producer = view.producer(want.producerId);
    if (producer === undefined || producer.kind !== want.kind) {
      missing.push(want.trackSid);
    } else {
      rest.push(serve(want, held, cc));
    }
    rest.push(...serveSuccessor(view, want, { held, transportCc: cc }));
  }
  return { actions: [...closes, ...rest], missing };
}

function hasEnded(view: SubscriptionView, held: HeldSubscription, want: WantedSubscription | undefined): boolean {
  if (want === undefined) {
    return true;
  }
  if (continues(want, held) && !wasLetGo(want, held)) {
    // The producer may be gone before its successor is here.
    return false;
  }
  const isGone = view.producer(held.producerId) === undefined && held.awaitsConsumer !== true;
  return isAnother(want, held) || isGone;
}

/** Estimation that is no longer needed stays until its consumers end: taking it away would cost a renegotiation. */
function keepsTransportCc(view: SubscriptionView): boolean {
  return view.desired.some((want) => {
    const held = view.held.get(want.trackSid);
    const isSame = held?.producerId === want.producerId || (held !== undefined && continues(want, held));
    return held?.transportCc === true && !held.ended && isSame;
  });
}

function continues(want: WantedSubscription, held: HeldSubscription): boolean {
  return want.predecessor !== undefined && want.predecessor === held.producerId;
}

function serve(want: WantedSubscription, held: HeldSubscription | undefined, transportCc: boolean): SubscriptionAction {
  if (held !== undefined && continues(want, held) && !wasLetGo(want, held)) {
    return { kind: 'swap', want, transportCc };
  }
  if (held === undefined || isAnother(want, held)) {
    return { kind: 'open', want, transportCc };
  }
  if (held.awaitsConsumer === true) {
    return { kind: 'reopen', want, transportCc: transportCc || held.transportCc };
  }
  if (transportCc && !held.transportCc) {
    return { kind: 'reopen', want, transportCc };
  }
  return { kind: 'tune', want };
}

/** Only a track that flows already has something to lose. */
function serveSuccessor(
  view: SubscriptionView,
  want: WantedSubscription,
  { held, transportCc }: { held: HeldSubscription | undefined; transportCc: boolean },
): SubscriptionAction[] {
  if (held === undefined || held.producerId !== want.producerId || wasLetGo(want, held)) {
    return [];
  }
  const { successorId, trackSid } = held;
  const producerId = want.successor?.producerId;
  if (successorId !== undefined && successorId !== producerId) {
    return [{ kind: 'dropSuccessor', trackSid }];
  }
  const isReady = producerId === undefined || producerId === successorId;
  if (isReady || view.producer(producerId)?.kind !== want.kind) {
    return [];
  }
  return [{ kind: 'readySuccessor', want, transportCc, producerId }];
}

/** What is wanted cannot be had in the section that is held. */
function isAnother(want: WantedSubscription, held: HeldSubscription): boolean {
  return held.ended || held.producerId !== want.producerId || wasLetGo(want, held);
}

/** A new host may begin to count anew, which changes nothing. */
function wasLetGo(want: WantedSubscription, held: HeldSubscription): boolean {
  return (want.generation ?? 0) > (held.want.generation ?? 0);
}
