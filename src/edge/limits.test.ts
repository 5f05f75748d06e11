import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RateTable } from '../lib/rate-table.ts';
import { addressKey } from './address-key.ts';
import { ClientAddresses } from './client-address.ts';
import { ConnectionLimits } from './connection-limits.ts';
import { RequestLimits } from './request-limits.ts';

describe('a rate table', () => {
  it('allows a burst and then what flows back', () => {
    const rates = new RateTable({ perSecond: 2, burst: 3, maxKeys: 10 });
    assert.deepEqual(
      [1, 2, 3, 4].map(() => rates.take('a', 0)),
      [true, true, true, false],
    );
    assert.equal(rates.take('a', 400), false);
    assert.equal(rates.take('a', 500), true);
    assert.equal(rates.take('b', 500), true);
    assert.equal(rates.has('a', 60_000), true);
  });

  it('remembers only so many keys, and forgets the one that was quiet longest', () => {
    const rates = new RateTable({ perSecond: 1, burst: 1, maxKeys: 100 });
    for (let key = 0; key < 1_000; key += 1) rates.take(String(key), 0);
    assert.equal(rates.size, 100);
    assert.equal(rates.take('999', 0), false);
    assert.equal(rates.take('0', 0), true);
  });
});

describe('the limits of an address', () => {
  it('hold for a whole /64 of IPv6', () => {
    assert.equal(addressKey('198.51.100.7'), '198.51.100.7');
    assert.equal(addressKey('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
    assert.equal(addressKey('2001:db8::1'), '2001:db8:0:0::/64');
    assert.equal(addressKey('2001:0db8:0001:0002::9'), '2001:db8:1:2::/64');
    assert.equal(addressKey('::1'), '0:0:0:0::/64');
  });

  it('bound its open connections, and free what has ended once', () => {
    const limits = new ConnectionLimits({
      perAddress: 2,
      perSecond: 0,
      isExempt: (one) => one === '10.0.0.1',
      now: () => 0,
    });
    const first = limits.admit('198.51.100.7');
    assert.ok(first !== undefined && limits.admit('198.51.100.7') !== undefined);
    assert.equal(limits.admit('198.51.100.7'), undefined);
    assert.ok(limits.admit('198.51.100.8') !== undefined);
    first();
    first();
    assert.ok(limits.admit('198.51.100.7') !== undefined);
    assert.equal(limits.admit('198.51.100.7'), undefined);
    for (let count = 0; count < 10; count += 1) assert.ok(limits.admit('10.0.0.1') !== undefined);
  });

  it('bound how fast it opens connections', () => {
    let nowMs = 0;
    const limits = new ConnectionLimits({ perAddress: 5, perSecond: 5, isExempt: () => false, now: () => nowMs });
    const open = (): boolean => {
      const release = limits.admit('198.51.100.7');
      release?.();
      return release !== undefined;
    };
    assert.equal(Array.from({ length: 20 }, open).filter(Boolean).length, 5);
    nowMs = 1_000;
    assert.equal(Array.from({ length: 20 }, open).filter(Boolean).length, 5);
  });

  it('bound its requests without a token, and those with a bad one, apart from each other', () => {
    const limits = new RequestLimits({
      anonymousPerSecond: 1,
      badTokensPerSecond: 2,
      isExempt: () => false,
      now: () => 0,
    });
    const count = (ask: () => boolean): number => Array.from({ length: 50 }, ask).filter(Boolean).length;
    assert.equal(
      count(() => limits.allowsAnonymous('a')),
      10,
    );
    assert.equal(
      count(() => limits.allowsBadToken('a')),
      20,
    );
    assert.equal(limits.allowsAnonymous('b'), true);
  });
});

describe('who a client is', () => {
  const request = (remoteAddress: string, headers: Record<string, string>) =>
    ({ socket: { remoteAddress }, headers }) as unknown as Parameters<ClientAddresses['of']>[0];

  it('is believed from trusted proxies alone', () => {
    const addresses = new ClientAddresses(['10.0.0.0/8', '2001:db8::5']);
    const stated = { 'x-forwarded-for': '203.0.113.9' };
    assert.equal(addresses.of(request('198.51.100.7', stated)), '198.51.100.7');
    assert.equal(addresses.of(request('192.168.1.1', stated)), '192.168.1.1');
    assert.equal(addresses.of(request('10.1.2.3', stated)), '203.0.113.9');
    assert.equal(addresses.of(request('::ffff:10.1.2.3', stated)), '203.0.113.9');
    assert.equal(addresses.of(request('2001:db8::5', stated)), '203.0.113.9');
  });

  it('is the last address that is not a proxy, since a client may have begun the list', () => {
    const addresses = new ClientAddresses(['10.0.0.0/8']);
    const list = { 'x-forwarded-for': '127.0.0.1, 203.0.113.9, 10.0.0.2' };
    assert.equal(addresses.of(request('10.1.2.3', list)), '203.0.113.9');
    assert.equal(addresses.of(request('10.1.2.3', { 'x-forwarded-for': 'nonsense' })), '10.1.2.3');
    assert.equal(addresses.of(request('10.1.2.3', { 'x-real-ip': '203.0.113.8' })), '203.0.113.8');
  });
});
