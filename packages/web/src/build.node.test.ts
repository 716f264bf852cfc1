import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { buildPage } from './build.ts';
import { findForbidden } from './svelte-plugin.ts';

test('the page has at most 120 KB in gzip', async () => {
  const files = await buildPage();
  const size = Object.values(files).reduce((sum, { body }) => sum + gzipSync(body).length, 0);
  assert.ok(size <= 120 * 1024, `${size} bytes`);
});

test('the index refers to the script and the styles by their hashes, and has nothing inline', async () => {
  const files = await buildPage();
  const html = new TextDecoder().decode(files['index.html'].body);
  assert.ok(html.includes(`href="page.css?${files['page.css'].hash}"`));
  assert.ok(html.includes(`src="page.js?${files['page.js'].hash}"`));
  assert.doesNotMatch(html, /<style|\sstyle=|\son\w+=|<script>/);
});

test('the script and the styles refer to no other place', async () => {
  const files = await buildPage();
  const text = ['page.js', 'page.css'] as const;
  const decoder = new TextDecoder();
  const found = text.flatMap(
    (name) => decoder.decode(files[name].body).match(/\bhttps?:\/\/[^\s"'`)]+/g) ?? [],
  );
  // Names of namespaces, the addresses of Svelte's messages, and those in the comments on licences.
  const known =
    /^http:\/\/www\.w3\.org\/|^https:\/\/(svelte\.dev\/e\/|github\.com\/sveltejs\/svelte,)/;
  assert.deepEqual(
    found.filter((address) => !known.test(address)),
    [],
  );
});

test('components must not have raw HTML, style attributes, transitions and styles', () => {
  const cases = [
    '{@html name}',
    '<p style="color: red">',
    '<p transition:fade>',
    '<p in:fly={{ y: 1 }}>',
    '<style>p { color: red }</style>',
  ];
  for (const source of cases) assert.equal(findForbidden(source).length, 1, source);
  assert.deepEqual(findForbidden('<p style:width={width} class="in">{text}</p>'), []);
});
