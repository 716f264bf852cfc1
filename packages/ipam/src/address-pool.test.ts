import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AddressesExhausted, AddressPool, usageWarnings } from './address-pool.ts';
import { parseRanges } from './ranges.ts';

const delay = 60_000;

function poolOf(texts: readonly string[], isUsable?: (address: string) => boolean): AddressPool {
  const pool = new AddressPool(isUsable ? { isUsable } : {});
  pool.setRanges(parseRanges(texts).ranges);
  return pool;
}

const take = (pool: AddressPool, nowMs = 0) => pool.allocate(nowMs).addresses.join(' ');

test('allocate gives both families the same host number', () => {
  const pool = poolOf(['10.7.0.0/24', 'fd00:7::/64']);
  assert.equal(take(pool), '10.7.0.2 fd00:7::2');
  assert.equal(take(pool), '10.7.0.3 fd00:7::3');
});

test('allocate skips a number that one of the families has used', () => {
  const pool = poolOf(['10.7.0.0/24', 'fd00:7::/64']);
  pool.reserve(['fd00:7::2']);
  assert.equal(take(pool), '10.7.0.3 fd00:7::3');
});

test('allocate gives different numbers when the families have no common free one', () => {
  const pool = poolOf(['10.7.0.0/29', 'fd00:7::/64']);
  pool.reserve(['10.7.0.2', '10.7.0.3', '10.7.0.4', '10.7.0.5', 'fd00:7::6']);
  assert.equal(take(pool), '10.7.0.6 fd00:7::7');
});

test('allocate goes on after the last address and begins again at the end', () => {
  const pool = poolOf(['10.7.0.0/29']);
  const given = [2, 3, 4, 5, 6].map((n) => `10.7.0.${n}`);
  for (const address of given) assert.equal(take(pool), address);
  pool.release(['10.7.0.3'], 0);
  pool.release(['10.7.0.5'], 0);
  assert.equal(take(pool, delay), '10.7.0.3');
  assert.equal(take(pool, delay), '10.7.0.5');
});

test('allocate continues after the highest address that was reserved', () => {
  const pool = poolOf(['10.7.0.0/24']);
  pool.reserve(['10.7.0.9']);
  pool.reserve(['10.7.0.4']);
  assert.equal(take(pool), '10.7.0.10');
});

test('allocate uses the ranges of a family in their order', () => {
  const pool = poolOf(['10.7.0.0/30', '10.8.0.0/29', 'fd00::/64']);
  assert.equal(take(pool), '10.7.0.2 fd00::2');
  assert.equal(take(pool), '10.8.0.3 fd00::3');
});

test('a released address rests until the delay has passed', () => {
  const pool = poolOf(['10.7.0.0/29']);
  for (let i = 0; i < 4; i++) take(pool);
  pool.release(['10.7.0.2'], 1000);
  assert.equal(take(pool, 2000), '10.7.0.6');
  assert.equal(pool.allocate(1000 + delay).isEarly, false);
});

test('when no other address is free, the one that was released first is reused early', () => {
  const pool = poolOf(['10.7.0.0/29']);
  for (let i = 0; i < 5; i++) take(pool);
  pool.release(['10.7.0.5'], 1000);
  pool.release(['10.7.0.3'], 2000);
  assert.deepEqual(pool.allocate(3000), { addresses: ['10.7.0.5'], isEarly: true });
  assert.deepEqual(pool.allocate(3000), { addresses: ['10.7.0.3'], isEarly: true });
});

test('AddressesExhausted names the ranges and how many addresses are used', () => {
  const pool = poolOf(['10.7.0.0/30', '10.8.0.0/30', 'fd00::/64']);
  take(pool);
  take(pool);
  assert.throws(() => pool.allocate(0), {
    name: 'AddressesExhausted',
    message: 'allocate address: 2 of 2 IPv4 addresses of 10.7.0.0/30, 10.8.0.0/30 are used',
  });
  assert.deepEqual(
    pool.usage().map(({ used }) => used),
    [2, 2],
    'nothing of the other family was taken',
  );
  assert.throws(() => new AddressPool().allocate(0), /has no IPv4 addresses for pods/);
});

test('an address that is not usable is not given away', () => {
  const pool = poolOf(['10.7.0.0/29'], (address) => address === '10.7.0.4');
  assert.equal(take(pool), '10.7.0.4');
  assert.throws(() => pool.allocate(0), /1 of 5 .* are used, and the kernel maps have no room/);
});

test('pods keep addresses outside of the ranges', () => {
  const pool = poolOf(['10.7.0.0/30']);
  pool.reserve(['10.7.9.9']);
  assert.equal(take(pool), '10.7.0.2');
  assert.equal(pool.isUsed('10.7.9.9'), true);
});

test('usageWarnings begin at 80 %', () => {
  const usage = { family: 'IPv4', ranges: ['10.7.0.0/24'], total: 253 } as const;
  assert.deepEqual(usageWarnings([{ ...usage, used: 202 }]), []);
  assert.match(
    usageWarnings([{ ...usage, used: 203 }])[0]!,
    /^203 of 253 IPv4 .* 80% of 10\.7\.0\.0\/24/,
  );
});

/** Steps of a test: allocate, release the nth of the allocations, or wait. */
const actions = fc.array(
  fc.oneof(
    fc.constant({ kind: 'allocate' } as const),
    fc.record({ kind: fc.constant('release' as const), nth: fc.nat(40) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(2 * delay) }),
  ),
  { maxLength: 200 },
);

test('no address is given twice, none leaks, and the delay is held while another is free', () => {
  const ranges = fc.constantFrom(
    ['10.7.0.0/28'],
    ['10.7.0.0/28', 'fd00:7::/64'],
    ['10.7.0.0/29', '10.8.0.0/30', 'fd00:7::/125'],
    ['fd00:7::/124', '10.7.0.0/27'],
  );
  fc.assert(
    fc.property(ranges, actions, (texts, steps) => {
      const pool = poolOf(texts);
      const totals = pool.usage();
      const held: (readonly string[])[] = [];
      const releasedMs = new Map<string, number>();
      let nowMs = 0;
      for (const step of steps) {
        if (step.kind === 'wait') nowMs += step.ms;
        else if (step.kind === 'release') {
          const [addresses] = held.splice(step.nth, 1);
          if (!addresses) continue;
          pool.release(addresses, nowMs);
          for (const address of addresses) releasedMs.set(address, nowMs);
        } else {
          const isFull = totals.some(({ total }) => total <= held.length);
          if (isFull) {
            assert.throws(() => pool.allocate(nowMs), AddressesExhausted);
            continue;
          }
          const { addresses, isEarly } = pool.allocate(nowMs);
          assert.equal(addresses.length, totals.length);
          for (const address of addresses) {
            assert.ok(!held.flat().includes(address), `${address} is given twice`);
          }
          const rested = addresses.every(
            (address) => nowMs - (releasedMs.get(address) ?? -delay) >= delay,
          );
          assert.equal(rested, !isEarly);
          held.push(addresses);
        }
        for (const { used } of pool.usage()) assert.equal(used, held.length);
      }
    }),
  );
});

test('has is true for addresses that pods can have', () => {
  const pool = poolOf(['10.7.0.0/24', 'fd00:7::/64']);
  const addresses = ['10.7.0.2', '10.7.0.254', 'fd00:7::2', '10.7.0.1', '10.7.0.255', '10.8.0.2'];
  assert.deepEqual(
    addresses.map((address) => pool.has(address)),
    [true, true, true, false, false, false],
  );
});
