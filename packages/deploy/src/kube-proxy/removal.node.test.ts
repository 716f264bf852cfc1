import assert from 'node:assert/strict';
import { test } from 'node:test';
import { iptablesLeftovers } from '../../testing/kube-proxy-rules.ts';
import { removeLeftovers } from './removal.ts';
import { type RunTool, runTool, ToolError } from './tools.ts';

test('a missing tool is reported as skipped', async () => {
  assert.deepEqual(await removeLeftovers(async () => undefined), {
    removed: [],
    kept: [],
    skipped: ['iptables: not installed', 'ip6tables: not installed', 'nft: not installed'],
    failed: [],
  });
});

test('iptables without separate legacy and nft commands is used once', async () => {
  const inputs: string[] = [];
  const run: RunTool = async (command, _, input) => {
    if (command === 'iptables-restore') inputs.push(input!);
    return command === 'iptables-save'
      ? iptablesLeftovers('iptables')
      : command.endsWith('restore')
        ? ''
        : undefined;
  };
  const { removed, skipped } = await removeLeftovers(run);
  assert.equal(inputs.length, 1);
  assert.equal(removed[1], 'iptables: filter: 6 chains, 0 jumps');
  assert.deepEqual(skipped, ['ip6tables: not installed', 'nft: not installed']);
});

test('a tool that fails is reported, and the others run', async () => {
  const run: RunTool = async (command, args) => {
    if (command === 'iptables-nft-save') throw new ToolError('run iptables-nft-save: no');
    if (command === 'nft') return args[0] === 'list' ? 'table ip kube-proxy\ntable ip nat\n' : '';
    return undefined;
  };
  const { removed, skipped, failed } = await removeLeftovers(run);
  assert.deepEqual(skipped, ['ip6tables: not installed']);
  assert.deepEqual(failed, ['run iptables-nft-save: no']);
  assert.deepEqual(removed, ['nft: table ip kube-proxy']);
});

test('tools run without a shell, and their output is the error message', async () => {
  assert.equal(await runTool('no-such-tool', []), undefined);
  assert.equal(await runTool('cat', [], '$(x) `y`'), '$(x) `y`');
  assert.equal(await runTool('echo', ['$HOME;']), '$HOME;\n');
  await assert.rejects(runTool('cat', ['/none']), {
    name: 'ToolError',
    message: 'run cat /none: cat: /none: No such file or directory',
  });
});
