import assert from 'node:assert/strict';

import { after, before, test } from 'node:test';
import axe from 'axe-core';
import type { Browser } from 'playwright-core';
import { launchBrowser, PageLab, withoutBrowser } from '../testing/page-lab.ts';

const skip = withoutBrowser;

let browser: Browser;
before(async () => {
  if (!skip) browser = await launchBrowser();
});
after(() => browser?.close());

test('an event is compared with the time before it, and shown on the map', { skip }, async () => {
  await using lab = await PageLab.open(browser, { hash: '#/changes' });
  const { page } = lab;
  await page.getByRole('button', { name: /Rollout of shop\/checkout/ }).click();
  const rows = page.locator('.changes-table tbody tr');
  await rows.first().getByText('now dropped').waitFor();
  assert.match(
    await rows.first().innerText(),
    /shop\/checkout[\s\S]*ledger[\s\S]*6 s after rollout/,
  );
  await page.getByRole('button', { name: 'Copy as text' }).click();
  await page.getByText('The table is copied.').waitFor();
  assert.match(
    await lab.clipboard(),
    /\| ✕ now dropped \| shop\/checkout → payments\/ledger:8443 \|/,
  );
  const { hash } = lab;
  await page.getByRole('link', { name: 'Show on the map' }).click();
  await page.locator('.link-badge').first().waitFor();
  assert.match(await page.locator('.map-bar').innerText(), /A, .* beside B,[\s\S]*as before/);
  await lab.go(hash);
  await rows.first().getByText('now dropped').waitFor();
  assert.deepEqual(lab.faults, []);
});

test('the ends of A and B move with the arrow keys', { skip }, async () => {
  await using lab = await PageLab.open(browser, { hash: '#/changes' });
  const { page } = lab;
  const begin = page.getByRole('slider', { name: 'Begin of B' });
  await begin.focus();
  const before = Number(await begin.getAttribute('aria-valuenow'));
  await page.keyboard.press('ArrowLeft');
  await page.locator(`[aria-label="Begin of B"][aria-valuenow="${before - 5}"]`).waitFor();
  assert.equal(await page.locator('.chart').getByRole('slider').count(), 4);
  assert.match(lab.hash, /b=/);
});

test('the page of a workload answers who uses it, also who is quiet', { skip }, async () => {
  await using lab = await PageLab.open(browser, { hash: '#/workload/data/catalogue-db' });
  const { page } = lab;
  const quiet = page.locator('tr', { hasText: 'price-import' });
  await quiet.waitFor();
  assert.match(await quiet.innerText(), /\d\d:\d\d/);
  assert.match(await page.locator('tr', { hasText: 'catalogue' }).first().innerText(), /%/);
  await page.getByText('data/catalogue-db-ingress').first().waitFor();
  await page.getByRole('link', { name: 'On the map' }).click();
  await page.locator('.map-panel').getByRole('heading', { name: 'catalogue-db' }).waitFor();
  await lab.go('#/workload/shop/no-such');
  await page.getByText('There is no workload/shop/no-such.').waitFor();
  assert.deepEqual(lab.faults, []);
});

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string }[];
}

const views = {
  map: '#/map',
  'a chosen workload': '#/map?sel=shop/checkout',
  'a link': '#/map?link=shop/checkout+%3E+payments/ledger',
  matrix: '#/map?as=matrix',
  list: '#/map?as=list&open=shop',
  changes: '#/changes',
  workload: '#/workload/payments/ledger',
};
for (const [width, height] of [
  [1280, 800],
  [390, 844],
] as const) {
  for (const theme of ['light', 'dark'] as const) {
    test(`axe-core finds no fault in the map and its pages, ${width} ${theme}`, {
      skip,
    }, async () => {
      await using lab = await PageLab.open(browser, { width, height, theme });
      const { page } = lab;
      for (const [name, hash] of Object.entries(views)) {
        await lab.go(hash);
        await page
          .locator('.card, .matrix, .list-head, .changes-table, .neighbours')
          .first()
          .waitFor();
        await page.evaluate(axe.source);
        const violations: Violation[] = await page.evaluate(
          'axe.run().then((result) => result.violations)',
        );
        const found = violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
        assert.deepEqual(found, [], name);
        const overflow = await page.evaluate(
          'document.documentElement.scrollWidth - document.documentElement.clientWidth',
        );
        assert.equal(overflow, 0, name);
      }
      assert.deepEqual(lab.faults, []);
    });
  }
}

test('on a phone the map is a list whose rows open the workload', { skip }, async () => {
  await using lab = await PageLab.open(browser, { width: 390, height: 844, theme: 'dark' });
  const { page } = lab;
  const head = page.locator('.list-head', { hasText: 'shop' });
  await head.click();
  const box = await page.locator('.list-row').first().boundingBox();
  assert.ok(box!.height >= 44);
  await page.locator('.list-row', { hasText: 'checkout' }).first().click();
  await page.waitForURL(/#\/workload\/shop\/checkout/);
  await page.getByText('Calls 8').waitFor();
  const sideways = await page.evaluate(
    '(() => { const main = document.querySelector("main"); return main.scrollWidth - main.clientWidth; })()',
  );
  assert.equal(sideways, 0);
});
