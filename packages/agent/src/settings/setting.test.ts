import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findFault } from './schema.ts';
import { defaultsOf, defaultText, sentencesOf, settingsOf } from './setting.ts';
import { settings } from './table.ts';

test('each setting says what it sets in a phrase without a full stop', () => {
  for (const { name, about } of settingsOf(settings)) {
    assert.match(about, /^[a-zA-Z].{8,}[^.]$/, name);
  }
});

test('each default is one that the setting itself takes', () => {
  for (const { name, fallback, schema, check } of settingsOf(settings)) {
    if (fallback !== undefined) assert.equal(findFault(fallback, schema, name, check), undefined);
  }
});

test('a default that depends on the node is described in words', () => {
  for (const setting of settingsOf(settings)) {
    if (setting.fallback === undefined) assert.ok(setting.fallbackText, setting.name);
  }
  assert.equal(defaultText(settings.node), 'the host name in lower case');
  assert.equal(defaultText(settings.apiServers), 'none');
  assert.equal(defaultText(settings.sizes.fields.slots), '262144');
});

test('settings of groups have dotted names, and their defaults are mappings', () => {
  const names = settingsOf(settings).map(({ name }) => name);
  assert.ok(names.includes('sizes.slots') && !names.includes('sizes'));
  assert.deepEqual(defaultsOf({ options: settings.options }), { options: { terminateTcp: false } });
});

test('sentences begin with a capital letter and end with a full stop', () => {
  assert.equal(sentencesOf({ about: 'map size' }), 'Map size.');
  assert.equal(sentencesOf({ about: 'map size', more: 'It grows.' }), 'Map size. It grows.');
});
