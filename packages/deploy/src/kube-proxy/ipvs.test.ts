import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endOf, isOwnService, parseAddresses, parseSets, parseVirtualServices } from './ipvs.ts';

test('virtual services are parsed from the output of ipvsadm --save', () => {
  const saved = `-A -t 10.96.0.10:53 -s rr
-a -t 10.96.0.10:53 -r 10.244.1.5:53 -m -w 1
-A -u [fd00:96::10]:53 -s rr -p 10800
-A --sctp-service 10.96.0.9:5000 -s rr
-A -f 7 -s wlc
`;
  const services = parseVirtualServices(saved);
  assert.deepEqual(services, [
    { option: '-t', address: '10.96.0.10', port: 53 },
    { option: '-u', address: 'fd00:96::10', port: 53 },
    { option: '--sctp-service', address: '10.96.0.9', port: 5000 },
  ]);
  assert.deepEqual(services.map(endOf), ['10.96.0.10:53', '[fd00:96::10]:53', '10.96.0.9:5000']);
});

test('kube-proxy’s virtual services are those at its interface and the NodePorts of the node', () => {
  const shown = `4: kube-ipvs0    inet 10.96.0.10/32 scope global kube-ipvs0\\       valid_lft forever
4: kube-ipvs0    inet6 fd00:96::10/128 scope global \\       valid_lft forever
`;
  const device = parseAddresses(shown);
  assert.deepEqual([...device], ['10.96.0.10', 'fd00:96::10']);
  const node = new Set(['192.0.2.1']);
  const isOwn = (address: string, port: number) =>
    isOwnService({ option: '-t', address, port }, device, node);
  assert.equal(isOwn('10.96.0.10', 53), true);
  assert.equal(isOwn('192.0.2.1', 30000), true);
  assert.equal(isOwn('192.0.2.1', 32767), true);
  assert.equal(isOwn('192.0.2.1', 443), false);
  assert.equal(isOwn('192.0.2.100', 30080), false);
});

test('kube-proxy’s IP sets do not include those of a network policy agent', () => {
  const names = ['KUBE-CLUSTER-IP', 'KUBE-6-NODE-PORT-LOCAL-SCTP-HASH', 'KUBE-LOAD-BALANCER-FW'];
  const others = ['KUBE-SRC-ABCDEFGHIJKLMN22', 'KUBE-DST-X', 'KUBE-CLUSTER-IP2', 'mine', ''];
  assert.deepEqual(parseSets([...names, ...others].join('\n')), names);
});
