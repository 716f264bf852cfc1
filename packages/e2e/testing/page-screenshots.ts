// Writes the pictures of the web page in docs/: node packages/e2e/testing/page-screenshots.ts [NAME...].
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { launchBrowser, PageLab, type PageLabOptions } from './page-lab.ts';

interface Picture extends PageLabOptions {
  /** An element that shows that the view is complete. */
  readonly selector: string;
  /** The element that is pressed then, and the one that it shows. */
  readonly click?: readonly [string, string];
}

const phone = { width: 390, height: 844 };
const paused = 'at=2026-11-30T14:10:20.000Z';
/** The pictures by name; each has at most 200 KB. */
const pictures: Readonly<Record<string, Picture>> = {
  drops: { hash: '#/drops', selector: '.why .yaml .failing' },
  flows: {
    ...{ hash: `#/flows?${paused}`, selector: '.flow-pool .flow-row', theme: 'dark' },
    ...{ width: 1100, height: 520 },
    click: ['.flow-pool .flow-row.dropped', '.flow-drawer .note'],
  },
  empty: { hash: '#/flows?f=ns:shop+port:9999', selector: '.checks .failed' },
  'drop-phone': {
    ...{ ...phone, hash: '#/drops', selector: '.drop-row', theme: 'dark' },
    click: ['.drop-row', '.why .sentence'],
  },
};

const wanted = process.argv.slice(2);
const browser = await launchBrowser();
try {
  for (const [name, { selector, click, ...options }] of Object.entries(pictures)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    await using lab = await PageLab.open(browser, options);
    await lab.page.locator(selector).first().waitFor();
    await lab.page.locator('.strip .chart svg').waitFor();
    if (click !== undefined) {
      await lab.page.locator(click[0]).first().click();
      await lab.page.locator(click[1]).waitFor();
    }
    const path = fileURLToPath(new URL(`../../../docs/page-${name}.png`, import.meta.url));
    await lab.page.mouse.move(0, 0);
    await lab.page.screenshot({ path, animations: 'disabled' });
    const { size } = statSync(path);
    if (size > 200 * 1024) throw new Error(`write ${path}: it has ${size} bytes, more than 200 KB`);
    console.log(`docs/page-${name}.png ${size} bytes`);
  }
} finally {
  await browser.close();
}
