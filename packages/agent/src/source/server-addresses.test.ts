import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerAddresses } from './server-addresses.ts';

const server = (host: string, port = 6443) => ({ host, port, isTls: true, path: '' });

test('configured addresses are known from the start, those of names once resolved', () => {
  const lastResort = server('10.96.0.1', 443);
  const known = new ServerAddresses({
    servers: [server('192.0.2.5'), server('api.example'), server('FD00:0::5')],
    lastResort,
  });
  const configured = [
    { address: '192.0.2.5', port: 6443 },
    { address: 'fd00::5', port: 6443 },
    { address: '10.96.0.1', port: 443 },
  ];
  assert.deepEqual(known.all, configured);
  assert.equal(known.add(['198.51.100.1', '2001:DB8::1'], 6443), true);
  assert.equal(known.add(['2001:db8::1'], 6443), false);
  assert.equal(known.add(['192.0.2.5'], 6443), false, 'it is configured');
  assert.equal(known.add(['192.0.2.5'], 8443), true, 'at another port it is another server');
  assert.deepEqual(known.all, [
    ...configured,
    { address: '198.51.100.1', port: 6443 },
    { address: '2001:db8::1', port: 6443 },
    { address: '192.0.2.5', port: 8443 },
  ]);
});

test('of a name with ever new addresses a bounded number is kept, the latest', () => {
  const known = new ServerAddresses({ servers: [server('api.example')] });
  for (let i = 0; i < 200; i++) known.add([`198.51.100.${i}`, '192.0.2.1'], 6443);
  assert.equal(known.all.length, 64);
  assert.ok(known.all.some(({ address }) => address === '198.51.100.199'));
  assert.ok(known.all.some(({ address }) => address === '192.0.2.1'));
});
