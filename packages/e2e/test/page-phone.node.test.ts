import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import { launchBrowser, PageLab, withoutBrowser } from '../testing/page-lab.ts';

const phone = { width: 390, height: 844, theme: 'dark' } as const;
/** The width by which the document or the view is wider than the screen. */
const overflow =
  'Math.max(...[document.documentElement, document.getElementById("view")].map((element) => element.scrollWidth - element.clientWidth))';

describe('the page on a phone', { skip: withoutBrowser }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  it('shows a drop with its sentence and tests, without sideways scrolling, and goes back', async () => {
    await using lab = await PageLab.open(browser, { ...phone, hash: '#/flows' });
    const { page } = lab;
    await page.locator('.tabs .badge', { hasText: '3' }).waitFor();
    await page.locator('.tabs a', { hasText: 'Drops' }).click();
    await page.locator('.drop-row').first().click();
    await page.locator('.why .sentence').waitFor();
    await page.locator('.tests tr.failing', { hasText: 'does not fit' }).waitFor();
    assert.equal(await page.locator('.drop-list').isVisible(), false);
    assert.ok((await page.evaluate<number>(overflow)) <= 0);
    await page.getByRole('button', { name: 'All drops' }).click();
    await page.locator('.drop-row').first().waitFor();
    assert.equal(lab.hash, '#/drops');
    assert.deepEqual(lab.faults, []);
  });

  for (const width of [390, 320]) {
    it(`fits ${width} pixels in each view`, async () => {
      await using lab = await PageLab.open(browser, { ...phone, width });
      const views = [
        ['#/drops', '.drop-row'],
        ['#/flows', '.flow-pool .flow-row'],
        ['#/flows?as=grouped', '.groups-table tbody tr'],
        ['#/flows?f=ns:shop+port:9999', '.checks li'],
        ['#/nodes', '.nodes tbody tr'],
      ] as const;
      for (const [hash, selector] of views) {
        await lab.go(hash);
        await lab.page.locator(selector).first().waitFor();
        assert.ok((await lab.page.evaluate<number>(overflow)) <= 0, hash);
      }
    });
  }

  it('finds a workload, and its targets are large enough for a finger', async () => {
    await using lab = await PageLab.open(browser, { ...phone, hash: '#/drops' });
    const { page } = lab;
    await page.locator('.drop-row').first().waitFor();
    for (const selector of ['.drop-row', '.tabs a', '.top .button', '.field']) {
      const box = await page.locator(selector).first().boundingBox();
      assert.ok(box !== null && box.height >= 36, `${selector} ${box?.height}`);
    }
    await page.locator('#filter').fill('led');
    const item = page.locator('.find-item', { hasText: 'payments/ledger' }).first();
    const box = await item.boundingBox();
    assert.ok(box !== null && box.height >= 44);
    await item.click();
    await page.waitForURL(/#\/workload\/payments\/ledger$/);
  });

  it('keeps the view in landscape', async () => {
    await using lab = await PageLab.open(browser, {
      ...{ width: 844, height: 390, theme: 'dark', hash: '#/flows' },
    });
    await lab.page.locator('.flow-pool .flow-row').first().waitFor();
    const box = await lab.page.locator('#view').boundingBox();
    assert.ok(box !== null && box.height > 200, String(box?.height));
  });
});
