import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeUtf8 } from '@heddle/sys';
import { serviceYaml, sliceYaml } from '../testing/manifests.ts';
import { allFeatures } from './features/index.ts';
import { validateManifests } from './validate.ts';

const file = (name: string, ...documents: string[]) => ({
  name,
  bytes: encodeUtf8(documents.join('---\n')),
});

test('validateManifests counts the objects and rows of valid manifests', () => {
  const report = validateManifests(allFeatures, [
    file('web.yaml', serviceYaml('web', '10.96.0.1'), sliceYaml('web', '10.244.0.1')),
    file('app.yaml', 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n'),
  ]);
  assert.deepEqual(report.objects, {
    ...{ service: 1, slice: 1, node: 0, pod: 0 },
    ...{ networkPolicy: 0, clusterNetworkPolicy: 0, namespace: 0 },
  });
  assert.equal(report.rows, 1);
  assert.deepEqual(report.problems, []);
  assert.deepEqual(
    report.notes.map(({ file }) => file),
    ['app.yaml'],
  );
});

test('validateManifests reports file and line of syntax errors, invalid values and conflicts', () => {
  const report = validateManifests(allFeatures, [
    file('a.yaml', serviceYaml('web', '10.96.0.1'), 'kind: [\n'),
    file('b.yaml', serviceYaml('bad', 'x')),
    file(
      'c.yaml',
      sliceYaml('web', '10.244.0.1'),
      serviceYaml('wish', '10.96.0.1', '  externalIPs: [10.244.0.1]\n'),
    ),
  ]);
  const expected = [
    /^a\.yaml:11 not valid YAML: /,
    /^b\.yaml:1 Service default\/bad: spec\.clusterIP\[0\] is "x": must be an IP address$/,
    /^c\.yaml:13 Service default\/wish: externalIP 10\.244\.0\.1 is refused: it is an endpoint's/,
    /^c\.yaml:13 Service default\/wish: ClusterIP 10\.96\.0\.1:80\/TCP is taken: Service default\/web/,
  ];
  assert.equal(report.problems.length, expected.length);
  report.problems.forEach(({ file, line, message }, i) => {
    assert.match(`${file}:${line} ${message}`, expected[i]!);
  });
});
