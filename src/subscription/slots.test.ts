import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SlotTable } from './slots.ts';

function phases(table: SlotTable): string[] {
  return table.list().map((slot) => `${slot.mid}:${slot.kind}:${slot.phase}:${slot.trackSid ?? '-'}`);
}

describe('slot table', () => {
  it('appends sections in order and never reorders them', () => {
    const table = new SlotTable({ firstMid: 1, retires: false });
    assert.equal(table.take('audio', 'TR_a'), '1');
    assert.equal(table.take('video', 'TR_v'), '2');
    assert.equal(table.take('audio', 'TR_b'), '3');
    assert.deepEqual(phases(table), ['1:audio:taken:TR_a', '2:video:taken:TR_v', '3:audio:taken:TR_b']);
  });

  it('reuses a section of the same kind only after the client agreed to its being inactive', () => {
    const table = new SlotTable({ firstMid: 1, retires: false });
    table.take('video', 'TR_1');
    table.offered();
    table.answered();
    table.release('1');
    assert.equal(table.take('video', 'TR_2'), '2', 'still draining');
    table.offered();
    assert.equal(table.take('video', 'TR_3'), '3', 'offered inactive, not answered');
    table.answered();
    assert.equal(table.take('audio', 'TR_4'), '4', 'other kind');
    assert.equal(table.take('video', 'TR_5'), '1');
  });

  it('frees at once a section that no offer has shown with a track', () => {
    const table = new SlotTable({ firstMid: 1, retires: false });
    table.take('audio', 'TR_1');
    table.release('1');
    assert.equal(table.take('audio', 'TR_2'), '1');
  });

  it('does not count an answer to an offer made before the release', () => {
    const table = new SlotTable({ firstMid: 1, retires: false });
    table.take('audio', 'TR_1');
    table.offered();
    table.release('1');
    table.answered();
    assert.deepEqual(phases(table), ['1:audio:draining:-']);
  });

  it('keeps draining when the offer that showed it inactive was dropped', () => {
    const table = new SlotTable({ firstMid: 1, retires: false });
    table.take('audio', 'TR_1');
    table.offered();
    table.answered();
    table.release('1');
    table.offered();
    table.dropped();
    table.answered();
    assert.deepEqual(phases(table), ['1:audio:draining:-']);
  });

  it('never reuses a section that the client rejected with port 0', () => {
    const table = new SlotTable({ firstMid: 1, retires: false });
    table.take('video', 'TR_1');
    table.offered();
    table.kill('1');
    table.answered();
    assert.equal(table.take('video', 'TR_2'), '2');
  });

  it('gives the place of a retired section to a new one with a mid of its own, whatever its kind', () => {
    const table = new SlotTable({ firstMid: 1, retires: true });
    table.take('video', 'TR_1');
    table.take('video', 'TR_2');
    table.offered();
    table.answered();
    table.release('1');
    assert.equal(table.take('audio', 'TR_3'), '3', 'the client has not agreed to its end yet');
    table.offered();
    table.answered();
    assert.equal(table.take('audio', 'TR_1'), '4');
    assert.equal(table.replacedBy('4'), '1');
    assert.deepEqual(phases(table), ['4:audio:taken:TR_1', '2:video:taken:TR_2', '3:audio:taken:TR_3']);
  });

  it('does not retire a section that no offer has shown with a track', () => {
    const table = new SlotTable({ firstMid: 1, retires: true });
    table.take('audio', 'TR_1');
    table.release('1');
    assert.equal(table.take('audio', 'TR_2'), '1');
  });

  it('ignores a release of a section that carries nothing', () => {
    const table = new SlotTable({ firstMid: 1, retires: false });
    table.release('1');
    table.take('video', 'TR_1');
    table.kill('1');
    table.release('1');
    assert.deepEqual(phases(table), ['1:video:dead:-']);
  });

  it('follows the sections that a client offers, and adds none', () => {
    const table = new SlotTable({ firstMid: 1, retires: false, offeredByClient: true });
    assert.equal(table.take('audio', 'TR_a'), undefined);
    assert.deepEqual(
      table.follow([
        { mid: 'x', kind: 'audio' },
        { mid: 'y', kind: 'video' },
      ]),
      [],
    );
    assert.equal(table.take('audio', 'TR_a'), 'x');
    assert.equal(table.take('audio', 'TR_b'), undefined);
    assert.deepEqual(
      table.follow([
        { mid: 'y', kind: 'video' },
        { mid: 'z', kind: 'audio' },
      ]),
      ['x'],
      'its track has lost its section',
    );
    assert.deepEqual(phases(table), ['y:video:free:-', 'z:audio:free:-']);
  });
});
