import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import { launchBrowser, PageLab, withoutBrowser } from '../testing/page-lab.ts';

describe('the frame of the page', { skip: withoutBrowser }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  it('finds a workload by its name and opens it, or uses it as a filter', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows' });
    const { page } = lab;
    await page.locator('.nodes-link').waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('catalogue-db');
    await page.locator('.find-item.active', { hasText: 'data/catalogue-db' }).waitFor();
    await page.keyboard.press('Enter');
    await page.waitForURL(/#\/workload\/data\/catalogue-db$/);
    await page.keyboard.press('4');
    await page.keyboard.press('/');
    await page.keyboard.type('ledger');
    await page.locator('.find-item.active', { hasText: 'payments/ledger' }).waitFor();
    await page.keyboard.press('Shift+Enter');
    await page.waitForURL(/#\/flows\?f=with:payments\/ledger$/);
  });

  it('completes the value of a key with what was seen', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows' });
    const { page } = lab;
    await page.locator('#filter').fill('-ns:ba');
    await page.locator('.find-item', { hasText: '-ns:batch' }).click();
    assert.equal(lab.hash, '#/flows?f=-ns:batch');
    await page.locator('.chip.not', { hasText: 'batch' }).waitFor();
  });

  it('keeps a wrong word in the field with an explanation, and the filter as it was', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows?f=ns:shop' });
    const { page } = lab;
    await page.locator('#filter').fill('prot:53');
    await page.keyboard.press('Enter');
    const error = page.locator('.filter-error');
    await error.getByText('There is no key "prot".').waitFor();
    assert.equal(await page.locator('#filter').inputValue(), 'prot:53');
    assert.equal(lab.hash, '#/flows?f=ns:shop');
    await error.getByRole('button', { name: 'port:53' }).click();
    await page.keyboard.press('Enter');
    await page.waitForURL(/#\/flows\?f=ns:shop\+port:53$/);
  });

  it('chooses a range in the strip by dragging and moves it by keys', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/drops' });
    const { page } = lab;
    const strip = page.locator('.strip .chart');
    await strip.locator('svg').waitFor();
    const box = (await strip.boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.5, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.75, box.y + 20, { steps: 4 });
    await page.mouse.up();
    await page.locator('.live.paused').waitFor();
    const before = new URLSearchParams(lab.hash.split('?')[1]);
    const hours = (Date.parse(before.get('to')!) - Date.parse(before.get('from')!)) / 3600_000;
    assert.ok(hours > 5.8 && hours < 6.2, String(hours));
    await strip.focus();
    await page.keyboard.press('ArrowLeft');
    const after = new URLSearchParams(lab.hash.split('?')[1]);
    const moved = Date.parse(before.get('from')!) - Date.parse(after.get('from')!);
    assert.ok(Math.abs(moved - hours * 360_000) < 60_000, String(moved));
    await strip.dblclick();
    await page.locator('.live:not(.paused)').waitFor();
    assert.equal(lab.hash, '#/drops');
  });

  it('keeps unknown keys of the URL, the theme, and the link that is copied', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/drops?later=1' });
    const { page } = lab;
    await page.locator('.drop-row').first().waitFor();
    await page.keyboard.press('t');
    await page.locator('html[data-theme=dark]').waitFor();
    await page.reload();
    await page.locator('html[data-theme=dark]').waitFor();
    await page.getByRole('button', { name: 'By victim' }).click();
    assert.equal(lab.hash, '#/drops?by=victim&later=1');
    await page.keyboard.press('c');
    await page.getByText('The link is copied.').waitFor({ state: 'attached' });
    assert.equal(await lab.clipboard(), page.url());
  });

  it('lists the keys and switches single ones off', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/drops' });
    const { page } = lab;
    await page.locator('.drop-row').first().waitFor();
    await page.keyboard.press('?');
    await page.getByLabel('Switch single keys off').check();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.keyboard.press('4');
    assert.equal(lab.hash, '#/drops');
  });

  it('works below a prefix', async () => {
    await using lab = await PageLab.open(browser);
    await lab.context.route('**/below/this/**', (route) => {
      const url = route.request().url().replace('/below/this/', '/');
      return route.fetch({ url }).then((response) => route.fulfill({ response }));
    });
    await lab.page.goto(`${lab.server.url}below/this/#/nodes`);
    await lab.page.getByText('4 of 4 nodes send flows.').waitFor();
    await lab.context.unrouteAll({ behavior: 'ignoreErrors' });
  });
});
