import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownPorts } from './own-ports.ts';

const health = "the agent's health checks (healthAddress)";
const metrics = "the agent's metrics (metricsAddress)";

test('the ports of health and metrics are reserved where the agent listens', () => {
  const places = (healthAddress: string, metricsAddress: string) =>
    ownPorts({ healthAddress, metricsAddress });
  assert.deepEqual(places(':10256', '127.0.0.1:10249'), [
    { address: '', port: 10256, holder: health },
    { address: '127.0.0.1', port: 10249, holder: metrics },
  ]);
  assert.deepEqual(places('0.0.0.0:10256', '[::]:10249'), [
    { address: '', port: 10256, holder: health },
    { address: '', port: 10249, holder: metrics },
  ]);
  assert.deepEqual(places('off', '[fd00::1]:9999'), [
    { address: 'fd00::1', port: 9999, holder: metrics },
  ]);
  assert.deepEqual(places('127.0.0.1:0', 'off'), [], 'a port that the kernel chooses is no number');
});
