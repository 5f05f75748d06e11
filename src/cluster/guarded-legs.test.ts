import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ParticipantSid } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import { GuardedLegs } from './guarded-legs.ts';
import type { Link, LinkCloseReason } from './link.ts';
import { wireSamples } from './wire-fixtures.ts';

const opening = wireSamples['host-to-leg']['open'] as Extract<HostToLeg, { kind: 'open' }>;

/** A host's link to the legs, with what the legs got of it. */
function hostLink(guarded: GuardedLegs) {
  let receive: (message: HostToLeg, epoch?: number) => void = () => undefined;
  let closed: (reason: LinkCloseReason) => void = () => undefined;
  const link: Link<LegToHost, HostToLeg> = {
    send: () => undefined,
    close: () => undefined,
    onMessage: (receiver) => (receive = receiver),
    onClose: (listener) => (closed = listener),
  };
  const got: string[] = [];
  const wrapped = guarded.wrap(link);
  wrapped.onMessage((message) => got.push(`${message.kind} ${'leg' in message ? message.leg : message.roomName}`));
  wrapped.onClose(() => got.push('lost'));
  const open = (leg: string, epoch: number): void =>
    receive({ ...opening, leg: leg as ParticipantSid, identity: { ...opening.identity, roomName: 'lobby' } }, epoch);
  const resume = (leg: string, epoch: number): void => receive({ kind: 'resume', leg: leg as ParticipantSid }, epoch);
  const close = (leg: string, epoch: number): void =>
    receive({ kind: 'close', leg: leg as ParticipantSid, reason: 'left' }, epoch);
  return { got, open, resume, close, lose: () => closed('lost') };
}

describe('GuardedLegs', () => {
  it('hears the host with the highest epoch only, and ends the legs of the one before', () => {
    const guarded = new GuardedLegs();
    const [old, next] = [hostLink(guarded), hostLink(guarded)];
    old.open('PA_a', 7);
    old.resume('PA_a', 7);
    next.open('PA_b', 9);
    assert.deepEqual(old.got, ['open PA_a', 'resume PA_a', 'close PA_a']);
    old.open('PA_c', 7);
    assert.deepEqual(old.got.length, 3, 'a superseded host was heard');
    next.resume('PA_b', 9);
    assert.deepEqual(next.got, ['open PA_b', 'resume PA_b']);
  });

  it('begins anew when a room has no legs left', () => {
    const guarded = new GuardedLegs();
    const [one, other] = [hostLink(guarded), hostLink(guarded)];
    one.open('PA_a', 7);
    one.close('PA_a', 7);
    other.open('PA_b', 3);
    other.lose();
    one.open('PA_c', 2);
    assert.deepEqual(one.got, ['open PA_a', 'close PA_a', 'open PA_c']);
    assert.deepEqual(other.got, ['open PA_b', 'lost']);
  });
});
