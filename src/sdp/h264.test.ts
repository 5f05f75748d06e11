import assert from 'node:assert/strict';
import { it } from 'node:test';
import { isSameH264 } from './h264.ts';

const mode1 = (id?: string): Record<string, string | number> => ({
  'packetization-mode': 1,
  ...(id === undefined ? {} : { 'profile-level-id': id }),
});

it('compares H.264 by profile and packetization mode, not by level or case', () => {
  assert.ok(isSameH264(mode1('42e01f'), mode1('42E034')));
  assert.ok(isSameH264(mode1('42e01f'), mode1('42c02a')), 'the constraint bits 2 and 3 do not matter');
  assert.ok(isSameH264(mode1('42001f'), mode1('420034')));
  assert.ok(isSameH264(mode1('4d001f'), mode1('4d0032')));
  assert.ok(isSameH264(mode1(), mode1('42e01f')), 'a missing profile is constrained baseline');
});

it('tells profiles and packetization modes apart', () => {
  assert.ok(!isSameH264(mode1('42e01f'), mode1('42001f')));
  assert.ok(!isSameH264(mode1('640c1f'), mode1('64001f')));
  assert.ok(!isSameH264(mode1('42e01f'), { 'profile-level-id': '42e01f' }));
  assert.ok(!isSameH264(mode1('zzzzzz'), mode1('zzzzzz')), 'an unreadable profile equals nothing');
});
