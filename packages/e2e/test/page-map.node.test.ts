import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { launchBrowser, PageLab, withoutBrowser } from '../testing/page-lab.ts';

const skip = withoutBrowser;
let browser: Browser;
before(async () => {
  if (!skip) browser = await launchBrowser();
});
after(() => browser?.close());

const row = (id: string) => `[data-item="row:${id}"]`;
const card = (name: string) => `[data-item="card:${name}"]`;

test('three clicks lead from a cross at checkout to the reason, and back', { skip }, async () => {
  await using lab = await PageLab.open(browser);
  const { page } = lab;
  await page.locator(`${row('shop/checkout')} .tone-drop`).waitFor();
  assert.equal(await page.locator(`${row('shop/checkout')} .tone-drop`).innerText(), '38');
  await page.locator(row('shop/checkout')).click();
  const panel = page.locator('.map-panel');
  await panel.getByText(/38\/s to\s+ledger:8443\s+dropped since/).waitFor();
  assert.match(await panel.innerText(), /Called by 2[\s\S]*Calls 7/);
  assert.ok((await page.locator('path.stroke-out').count()) > 0);
  await panel.getByRole('link', { name: 'Why' }).click();
  await page.waitForURL(/#\/drops\?.*d=/);
  await page.goBack();
  await panel.waitFor();
  await page.goBack();
  await panel.waitFor({ state: 'detached' });
  assert.deepEqual(lab.faults, []);
});

test('each drop on the map has a mark and dashes, so it is seen without colour', {
  skip,
}, async () => {
  await using lab = await PageLab.open(browser);
  const { page } = lab;
  await page.locator('path.link.stroke-dropped').first().waitFor();
  const dashes = await page
    .locator('path.link.stroke-dropped')
    .evaluateAll((paths) => paths.map((path) => path.getAttribute('stroke-dasharray')));
  assert.deepEqual(
    dashes,
    dashes.map(() => '7 4'),
  );
  const rows = await page.locator('.row .row-trouble').count();
  assert.equal(await page.locator('.row .row-trouble use').count(), rows);
  assert.ok(rows >= 2 * dashes.length - 1);
});

test('a tick of the stream changes numbers and moves nothing', { skip }, async () => {
  await using lab = await PageLab.open(browser);
  const { page } = lab;
  await page.locator(row('shop/cart')).waitFor();
  const paths = () =>
    page
      .locator('path.link')
      .evaluateAll((all) => all.map((path) => `${path.getAttribute('d')}`).sort());
  const before = await paths();
  const rate = await page.locator(`${row('shop/cart')} .row-rate`).innerText();
  await page
    .locator(`${row('shop/cart')} .row-rate`)
    .filter({ hasNotText: rate })
    .waitFor();
  assert.deepEqual(await paths(), before);
});

test('the map works with the keyboard alone', { skip }, async () => {
  await using lab = await PageLab.open(browser);
  const { page } = lab;
  await page.locator(row('shop/checkout')).waitFor();
  const stops = await page.locator('.map [data-item][tabindex="0"]').count();
  assert.equal(stops, 1);
  await page.locator(row('shop/checkout')).focus();
  await page.keyboard.press('ArrowLeft');
  const caller = await page.evaluate('document.activeElement.dataset.item');
  assert.equal(caller, 'row:web/storefront');
  await page.keyboard.press('Enter');
  await page.locator('.map-panel').getByRole('heading', { name: 'storefront' }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('.map-panel').waitFor({ state: 'detached' });
  await page.keyboard.press('o');
  await page.locator(`${card('web')}[aria-expanded="false"]:focus`).waitFor();
  await page.keyboard.press('o');
  await page.locator(`${card('web')}[aria-expanded="true"]`).waitFor();
  await page.keyboard.press('x');
  await page.waitForURL(/f=ns:web/);
  await page.keyboard.press('m');
  await page.locator('.matrix').waitFor();
  assert.deepEqual(lab.faults, []);
});

test('500 services are on one screen, and an opened namespace moves only those below it', {
  skip,
}, async () => {
  await using lab = await PageLab.open(browser, { cluster: 'metro-500' });
  const { page } = lab;
  await page.locator(card('flint')).waitFor();
  const boxes = () =>
    page.locator('.card').evaluateAll((all) =>
      all.map((each) => {
        const { x, y } = each.getBoundingClientRect();
        return { name: each.getAttribute('aria-label')?.split(',')[0], x, y };
      }),
    );
  const before = await boxes();
  assert.ok(before.length >= 42, `${before.length} cards`);
  assert.ok(before.every(({ y }) => y > 0 && y < 744));
  const strong = await page
    .locator('path.link')
    .evaluateAll((all) => all.filter((path) => path.getAttribute('opacity') !== '0.1').length);
  assert.ok(strong >= 60 && strong <= 75, `${strong} strong links`);
  await page.locator(card('flint')).click();
  await page.locator(row('flint/api')).waitFor();
  const own = before.find(({ name }) => name === 'namespace flint')!;
  for (const box of await boxes()) {
    const old = before.find(({ name }) => name === box.name)!;
    const isBelow = Math.abs(old.x - own.x) < 1 && old.y > own.y;
    assert.equal(box.x, old.x, box.name);
    assert.equal(box.y > old.y, isBelow, box.name);
  }
  await page.locator(row('flint/api')).click();
  await page.locator('.map-panel').getByRole('heading', { name: 'api' }).waitFor();
  assert.deepEqual(lab.faults, []);
});

test('the order of the cards is the same at the next visit, and never in the URL', {
  skip,
}, async () => {
  await using lab = await PageLab.open(browser);
  const { page } = lab;
  await page.locator(row('shop/cart')).waitFor();
  const order = () =>
    page.locator('.card').evaluateAll((all) => all.map((each) => each.getAttribute('style')));
  const before = await order();
  await page.reload();
  await page.locator(row('shop/cart')).waitFor();
  assert.deepEqual(await order(), before);
  assert.ok(!lab.hash.includes('shop'));
});

test('the arrow keys move in the matrix, and Enter opens a link with its ports', {
  skip,
}, async () => {
  await using lab = await PageLab.open(browser, { hash: '#/map?as=matrix' });
  const { page } = lab;
  const matrix = page.locator('.matrix');
  await matrix.focus();
  const first = await matrix.getAttribute('aria-label');
  assert.match(first!, /dropped|refused/);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowRight');
  assert.notEqual(await matrix.getAttribute('aria-label'), first);
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowLeft');
  assert.equal(await matrix.getAttribute('aria-label'), first);
  await page.keyboard.press('Enter');
  const panel = page.locator('.map-panel');
  await panel.getByText('Ports').waitFor();
  await panel.getByRole('link', { name: 'Flows' }).waitFor();
  await panel.getByRole('link', { name: 'Why' }).waitFor();
  assert.deepEqual(lab.faults, []);
});

test('the map is saved as a picture that a browser can draw', { skip }, async () => {
  await using lab = await PageLab.open(browser);
  const { page } = lab;
  await page.locator(row('shop/cart')).waitFor();
  for (const [form, start] of [
    ['SVG', '<svg xmlns'],
    ['PNG', '\u0089PNG'],
  ] as const) {
    await page.locator('summary', { hasText: 'Picture' }).click();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: form, exact: true }).click(),
    ]);
    const chunks: Buffer[] = [];
    for await (const chunk of await download.createReadStream()) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString('latin1');
    assert.ok(body.startsWith(start), form);
    assert.ok(body.length > 5000);
  }
  assert.deepEqual(lab.faults, []);
});

test('a map without a link says which word of the filter empties it', { skip }, async () => {
  await using lab = await PageLab.open(browser, { hash: '#/map?f=ns:shop+port:9999' });
  const { page } = lab;
  await page.getByRole('button', { name: 'Remove port:9999' }).first().click();
  await page.locator(row('shop/cart')).waitFor();
  assert.ok(!lab.hash.includes('9999'));
  assert.deepEqual(lab.faults, []);
});
