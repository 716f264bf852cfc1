import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configurationText } from './configuration.ts';

const capabilities = { 'io.kubernetes.cri.pod-annotations': true };
const parse = (text: string | undefined) => JSON.parse(text!);

test('a configuration list names the plug-in, the socket and the versions for old and new runtimes', () => {
  assert.deepEqual(parse(configurationText('/run/a.sock', undefined)), {
    ...{ cniVersion: '1.0.0', cniVersions: ['1.0.0', '1.1.0'], name: 'heddle' },
    plugins: [{ type: 'heddle-cni', socket: '/run/a.sock', capabilities }],
  });
});

test('a configuration list that says the same is not written again', () => {
  const text = configurationText('/run/a.sock', undefined)!;
  assert.equal(configurationText('/run/a.sock', text), undefined);
  const { plugins, ...fields } = parse(text);
  const reordered = JSON.stringify({
    plugins: [{ socket: '/run/a.sock', ...plugins[0] }],
    ...fields,
  });
  assert.equal(configurationText('/run/a.sock', reordered), undefined);
  assert.notEqual(configurationText('/run/b.sock', text), undefined);
});

test('a configuration list keeps chained plug-ins and fields of others', () => {
  const first = parse(configurationText('/run/a.sock', undefined));
  const chained = { type: 'istio-cni', kubernetes: { exclude: ['kube-system'] } };
  const old = { type: 'heddle-cni', socket: '/run/old.sock' };
  const text = configurationText(
    '/run/a.sock',
    JSON.stringify({ ...first, disableCheck: true, plugins: [old, chained] }),
  );
  assert.deepEqual(parse(text), {
    ...first,
    disableCheck: true,
    plugins: [first.plugins[0], chained],
  });
  assert.equal(configurationText('/run/a.sock', text), undefined);
});

test('a configuration list replaces what cannot be read', () => {
  const text = configurationText('/run/a.sock', undefined);
  for (const broken of ['', '{', '[]', 'null', '{"plugins":3}', '{"plugins":[null,[]]}']) {
    assert.deepEqual(parse(configurationText('/run/a.sock', broken)), parse(text), broken);
  }
});
