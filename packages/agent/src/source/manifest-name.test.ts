import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isManifestName } from './manifest-name.ts';

test('isManifestName accepts YAML and JSON files, and no temporary files of editors', () => {
  const names = ['web.yaml', 'web.yml', 'web.json', 'WEB.YAML', 'my web.v1.yaml'];
  assert.deepEqual(names.filter(isManifestName), names);
  const others = [
    '.web.yaml',
    '.web.yaml.swp',
    'web.yaml~',
    '#web.yaml#',
    '.#web.yaml',
    '4913',
    '~web.yaml',
    'web.yaml.bak',
    'web.txt',
    'yaml',
  ];
  assert.deepEqual(others.filter(isManifestName), []);
});
