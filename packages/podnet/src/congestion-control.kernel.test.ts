import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { NetworkNamespace } from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { congestionControl, setCongestionControl } from './index.ts';

const platform = nodePlatform();

test('a pod gets a congestion control of its own', () => {
  using pod = NetworkNamespace.create(platform);
  // Pods may use those that every process may choose.
  const allowed = readFileSync('/proc/sys/net/ipv4/tcp_allowed_congestion_control', 'utf8');
  const before = congestionControl(platform);
  for (const name of allowed.trim().split(' ')) {
    assert.equal(setCongestionControl(platform, pod, name), undefined);
    assert.equal(
      pod.enter(() => congestionControl(platform)),
      name,
    );
  }
  assert.equal(congestionControl(platform), before, 'the node keeps its own');
});

test('an algorithm that the kernel lacks is reported with the remedy, and the pod keeps its own', () => {
  using pod = NetworkNamespace.create(platform);
  const before = pod.enter(() => congestionControl(platform));
  const problem = setCongestionControl(platform, pod, 'nosuch');
  assert.match(problem ?? '', /^congestion control nosuch cannot be used: .*modprobe tcp_nosuch$/);
  assert.equal(
    pod.enter(() => congestionControl(platform)),
    before,
  );
});
