import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Section, emptySection } from './description.ts';
import { type BoundSection, type PendingWish, matchSections } from './match.ts';

function section(
  mid: string,
  kind: 'audio' | 'video',
  trackId: string,
  direction: Section['direction'] = 'sendonly',
): Section {
  return { ...emptySection(mid, kind), direction, msids: trackId === '' ? [] : [{ streamId: 's', trackId }] };
}

function match(sections: Section[], wishes: PendingWish[], bound: [string, BoundSection][] = []): string[] {
  return matchSections({ sections, wishes, bound: new Map(bound) }).map(
    (each) => `${each.section.mid}=${each.wish.cid}/${each.sdpCid}`,
  );
}

describe('matchSections', () => {
  it('goes by cid, whatever the order', () => {
    const wishes: PendingWish[] = [
      { kind: 'video', cid: 'a' },
      { kind: 'video', cid: 'b' },
    ];
    assert.deepEqual(match([section('0', 'video', 'b'), section('1', 'video', 'a')], wishes), ['0=b/b', '1=a/a']);
  });

  it('gives the rest out in order within a kind', () => {
    const wishes: PendingWish[] = [
      { kind: 'audio', cid: 'm' },
      { kind: 'video', cid: 'a' },
      { kind: 'video', cid: 'b' },
    ];
    const sections = [section('0', 'video', 'other'), section('1', 'video', 'a'), section('2', 'audio', '')];
    assert.deepEqual(match(sections, wishes), ['1=a/a', '0=b/other', '2=m/m']);
  });

  it('never matches an announced backup, which has no cid', () => {
    assert.deepEqual(match([section('0', 'video', 'x'), section('1', 'video', '')], [{ kind: 'video', cid: '' }]), []);
  });

  it('does not confuse kinds that share an id', () => {
    assert.deepEqual(match([section('0', 'audio', 'a')], [{ kind: 'video', cid: 'a' }]), []);
  });

  it('leaves sections alone that do not send', () => {
    const wishes: PendingWish[] = [{ kind: 'video', cid: 'a' }];
    const rejected = { ...section('2', 'video', 'a'), rejected: true };
    const sections = [section('0', 'video', 'a', 'recvonly'), section('1', 'video', 'a', 'inactive'), rejected];
    assert.deepEqual(match(sections, wishes), []);
  });

  it('leaves a bound section alone until its track id is that of another announced track', () => {
    const wishes: PendingWish[] = [{ kind: 'video', cid: 'next' }];
    const bound: [string, BoundSection][] = [['0', { sdpCid: 'first' }]];
    assert.deepEqual(match([section('0', 'video', 'first')], wishes, bound), []);
    assert.deepEqual(match([section('0', 'video', 'replaced')], wishes, bound), []);
    assert.deepEqual(match([section('0', 'video', 'next')], wishes, bound), ['0=next/next']);
  });

  it('sees through the braces of Firefox', () => {
    assert.deepEqual(match([section('0', 'audio', '{u-1}')], [{ kind: 'audio', cid: 'u-1' }]), ['0=u-1/{u-1}']);
  });
});
