import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import { launchBrowser, PageLab, withoutBrowser } from '../testing/page-lab.ts';

describe('the view of flows', { skip: withoutBrowser }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  it('shows some of 10,000 flows a second, and every drop', async () => {
    const options = { flowsPerSecond: 10_000, hash: '#/flows' };
    await using lab = await PageLab.open(browser, options);
    const head = lab.page.locator('.flows-head');
    await head
      .getByText(/match\. \d+ of them are shown each second, chosen evenly; no drop is left out\./)
      .waitFor();
    const number = (await head.locator('b').innerText()).replace(/\D/g, '');
    assert.ok(Number(number) > 9500 && Number(number) < 10_500, number);
    assert.ok((await lab.page.locator('.flow-pool .flow-row').count()) < 45);
    assert.deepEqual(lab.faults, []);
  });

  it('holds the rows while the pointer is over them, and counts the newer ones', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows' });
    const first = lab.page.locator('.flow-pool .flow-row').first();
    await first.waitFor();
    await lab.page.locator('.flow-scroll').hover();
    const held = await first.innerText();
    const newer = lab.page.locator('.newer');
    await newer.waitFor();
    const count = await newer.innerText();
    await lab.page.locator('.newer', { hasNotText: count }).waitFor();
    assert.equal(await first.innerText(), held);
    await newer.click();
    assert.notEqual(await first.innerText(), held);
  });

  it('scrolls back to older flows while it is paused, with the chosen row', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows' });
    const { page } = lab;
    await page.locator('.flow-pool .flow-row').first().waitFor();
    await page.keyboard.press('Space');
    await page.locator('.live.paused').waitFor();
    await page.locator('.flows-head b', { hasText: /^5\d\d flows$/ }).waitFor();
    assert.match(lab.hash, /at=2026-11-30T14:1/);
    await page.locator('.flow-pool .flow-row').nth(5).click();
    const drawer = page.locator('.flow-drawer');
    const chosen = await drawer.locator('dd').first().innerText();
    const scroll = page.locator('.flow-scroll');
    await scroll.hover();
    for (const flows of [/^1\s0\d\d flows$/, /^1\s5\d\d flows$/]) {
      await page.mouse.wheel(0, 20_000);
      await page.locator('.flows-head b', { hasText: flows }).waitFor();
    }
    assert.equal(await drawer.locator('dd').first().innerText(), chosen);
    await page.keyboard.press('Space');
    await page.locator('.live:not(.paused)').waitFor();
  });

  it('filters by the value of a field and without it', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows?f=verdict:dropped' });
    const { page } = lab;
    await page.locator('.flow-row.dropped', { hasText: 'ledger' }).first().click();
    await page.getByRole('button', { name: /^Only node / }).click();
    assert.match(lab.hash, /^#\/flows\?f=verdict:dropped\+node:rack\d-[ab]&row=/);
    await page.getByRole('button', { name: /^Without to payments\/ledger$/ }).click();
    assert.match(lab.hash, /-to:payments\/ledger/);
    await page.locator('.chip.not', { hasText: 'payments/ledger' }).waitFor();
    await page.getByLabel('Remove verdict:dropped').click();
    assert.doesNotMatch(lab.hash, /verdict/);
  });

  it('shows a stranger at the database, each and grouped, and exports it', async () => {
    const hash = '#/flows?f=to:data/customers-db+new:1h';
    await using lab = await PageLab.open(browser, { hash });
    const { page } = lab;
    await page.locator('.flow-pool .flow-row').first().waitFor();
    const callers = await page.locator('.flow-pool .cell-from').allInnerTexts();
    assert.ok(
      callers.every((caller) => caller.startsWith('data/etl-')),
      callers.join(),
    );
    await page.locator('summary', { hasText: 'Export' }).click();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'JSON lines' }).click(),
    ]);
    const lines = (await readFile(await download.path(), 'utf8')).trimEnd().split('\n');
    const flows = lines.map((line) => JSON.parse(line).flow);
    assert.ok(lines.length >= 10);
    assert.ok(flows.every(({ source }) => source.workloads[0].name === 'etl'));
    await page.getByRole('button', { name: 'Grouped' }).click();
    await page.locator('.groups-table tbody tr').first().waitFor();
    assert.equal(await page.locator('.groups-table tbody tr').count(), 1);
    assert.match(
      await page.locator('.groups-table tbody').innerText(),
      /data\/etl\s+data\/customers-db/,
    );
  });

  it('moves by the cell, filters and copies with keys', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows?f=verdict:dropped' });
    const { page } = lab;
    await page.locator('.flow-pool .flow-row').first().waitFor();
    await page.locator('.flow-scroll').focus();
    for (const key of ['ArrowDown', 'ArrowRight', 'ArrowRight']) await page.keyboard.press(key);
    const pointed = page.locator('.flow-pool span.pointed');
    const caller = (await pointed.innerText()).replace(/-[a-z0-9]+$/, '');
    await page.keyboard.press('y');
    await page.getByText('The row is copied.').waitFor({ state: 'attached' });
    assert.equal(JSON.parse(await lab.clipboard()).flow.verdict, 'DROPPED');
    await page.keyboard.press('+');
    assert.ok(
      lab.hash.startsWith(`#/flows?f=verdict:dropped+from:${caller.split('/')[0]}/`),
      lab.hash,
    );
  });

  it('shows other columns, which stay in the URL', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows' });
    const { page } = lab;
    await page.locator('summary', { hasText: 'Columns' }).click();
    await page.getByLabel('Node', { exact: true }).uncheck();
    await page.getByLabel('Bytes', { exact: true }).check();
    assert.equal(lab.hash, '#/flows?cols=time,verdict,from,to,port,summary,rule,bytes');
    await page.getByRole('columnheader', { name: 'Bytes' }).waitFor();
  });
});
