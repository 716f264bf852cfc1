import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dualStack, rangeOfV6 } from './dual-stack.ts';

test('a range of IPv4 has a range of IPv6 with the same hosts of the lab', () => {
  const ranges = {
    '0.0.0.0/0': '::/0',
    '0.0.0.0/4': 'f000::/4',
    '0.0.0.0/31': 'fd00:0:0:0::0/127',
    '10.244.2.0/24': 'fd00:10:244:2::/120',
    '10.244.2.32/28': 'fd00:10:244:2::20/124',
    '10.244.2.60/32': 'fd00:10:244:2::3c/128',
  };
  for (const [v4, v6] of Object.entries(ranges)) assert.equal(rangeOfV6(v4), v6);
  assert.throws(() => rangeOfV6('172.16.0.0/12'), /find the IPv6 range of 172.16.0.0\/12/);
});

test('peers with ranges are doubled, and others stay', () => {
  const known = new Map([['10.9.9.9', { v4: '10.244.1.2', v6: 'fd00:10:244:1::2' }]]);
  const policy = (from: unknown[], networks: string[]) => ({
    spec: { ingress: [{ from }], to: [{ networks }] },
  });
  const pods = { podSelector: { matchLabels: { app: 'web' } } };
  const block = (cidr: string, except?: string[]) => ({
    ipBlock: { cidr, ...(except && { except }) },
  });
  assert.deepEqual(
    dualStack(
      policy(
        [pods, block('10.244.2.0/24', ['10.244.2.32/28']), block('10.9.9.9/32')],
        ['0.0.0.0/0', '::/0'],
      ),
      known,
    ),
    policy(
      [
        pods,
        block('10.244.2.0/24', ['10.244.2.32/28']),
        block('fd00:10:244:2::/120', ['fd00:10:244:2::20/124']),
        block('10.244.1.2/32'),
        block('fd00:10:244:1::2/128'),
      ],
      ['0.0.0.0/0', '::/0'],
    ),
  );
});
