import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TokenAccess } from '@heddle/relay';
import { InventedRelay } from '@heddle/relay/testing/invented-relay';
import { buildPage } from '@heddle/web/build';
import { clusters } from '@heddle/web/testing/clusters';
import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser, withoutBrowser } from '../testing/page-lab.ts';

const [wrong, right, changed] = [
  'a-token-that-is-wrong',
  'a-token-of-the-relay',
  'a-later-token-of-it',
];

interface LoginOptions {
  readonly theme?: 'light' | 'dark';
  readonly width?: number;
  readonly view?: string;
}

/** The page of a real relay that asks for the token of a file. */
class LoginLab implements AsyncDisposable {
  readonly page: Page;
  readonly relay: InventedRelay;
  /** The messages of the page, and the addresses that it asks for. */
  readonly written: string[] = [];
  readonly urls: string[] = [];
  readonly #tokenFile: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    page: Page,
    relay: InventedRelay,
    tokenFile: string,
    stack: AsyncDisposableStack,
  ) {
    [this.page, this.relay, this.#tokenFile, this.#stack] = [page, relay, tokenFile, stack];
    page.on('console', (message) => this.written.push(message.text()));
    page.on('pageerror', (error) => this.written.push(error.message));
    page.on('request', (request) => this.urls.push(request.url()));
  }

  static async open(
    browser: Browser,
    { theme = 'light', width = 1280, view = 'flows' }: LoginOptions = {},
  ): Promise<LoginLab> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'heddle-login-'));
    stack.defer(() => rm(folder, { recursive: true }));
    const tokenFile = join(folder, 'token');
    await writeFile(tokenFile, `${right}\n`);
    const relay = await InventedRelay.start(clusters['shop-berlin'](), {
      ...{ access: new TokenAccess(tokenFile), page: buildPage },
      // The page needs some flows, and no more.
      ...{ flowsPerSecond: 50, beforeMs: 20_000 },
    });
    stack.use(relay);
    const context = await browser.newContext({
      viewport: { width, height: 844 },
      colorScheme: theme,
      reducedMotion: 'reduce',
    });
    stack.defer(() => context.close());
    const lab = new LoginLab(await context.newPage(), relay, tokenFile, stack.move());
    await lab.page.goto(`${relay.url}#/${view}`);
    return lab;
  }

  /** Enters a token and presses Enter; the field has the focus already. */
  async enter(token: string): Promise<void> {
    await this.page.locator('#token:focus').waitFor();
    await this.page.keyboard.insertText(token);
    await this.page.keyboard.press('Enter');
  }

  changeToken(token: string): Promise<void> {
    return writeFile(this.#tokenFile, token);
  }

  says(sentence: string): Promise<void> {
    return this.page.getByRole('alert').filter({ hasText: sentence }).waitFor();
  }

  /** Waits for flows, which come by requests, and for the word Live, which comes by the stream. */
  async showsFlows(): Promise<void> {
    await this.page.locator('.flow-pool .flow-row').first().waitFor();
    await this.page.locator('.nodes-link').waitFor({ state: 'attached' });
  }

  /** Throws if a token is in an address or a message, or if the page reports an error. */
  checkTraces(): void {
    for (const token of [wrong, right, changed]) {
      for (const text of [this.page.url(), ...this.urls, ...this.written]) {
        assert.ok(!text.includes(token!), text);
      }
    }
    // The browser itself writes a line for each answer 401.
    assert.deepEqual(
      this.written.filter((text) => !/status of 401/.test(text)),
      [],
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

describe('login', { skip: withoutBrowser }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  for (const [theme, width] of [
    ['light', 1280],
    ['dark', 390],
  ] as const) {
    it(`admits a reader with the token of the relay, ${theme}, ${width} pixels wide`, async () => {
      await using lab = await LoginLab.open(browser, { theme, width });
      const { page } = lab;
      await lab.says('The relay asks for a token.');
      await page.evaluate(axe.source);
      const violations = await page.evaluate(
        'axe.run().then((result) => result.violations.map(({ id }) => id))',
      );
      assert.deepEqual(violations, []);
      assert.equal(
        await page.evaluate('document.documentElement.scrollWidth <= innerWidth'),
        true,
        'the login is not wider than the window',
      );
      await lab.enter(wrong!);
      await lab.says('The relay does not accept this token.');
      assert.equal(await page.locator('.flow-row').count(), 0);
      await lab.enter('not a token');
      await lab.says('A token has letters, digits and signs, and no spaces.');
      await lab.enter(right!);
      await lab.showsFlows();
      assert.equal(new URL(page.url()).hash, '#/flows');
      await page.reload();
      await lab.showsFlows();
      const other = await page.context().newPage();
      await other.goto(lab.relay.url);
      await other.getByRole('alert').waitFor();
      lab.checkTraces();
    });
  }

  it('comes back when the relay has another token, and shows the views for that one', async () => {
    await using lab = await LoginLab.open(browser, { view: 'nodes' });
    const views = lab.page.locator('.nodes-link');
    await lab.enter(right!);
    await views.waitFor();
    await lab.changeToken(changed!);
    await lab.says('The relay does not accept this token.');
    assert.equal(await views.count(), 0);
    await lab.enter(changed!);
    await views.waitFor();
    lab.checkTraces();
  });

  it('comes back when the reader lets the page forget the token', async () => {
    await using lab = await LoginLab.open(browser);
    await lab.enter(right!);
    await lab.showsFlows();
    await lab.page.keyboard.press('?');
    await lab.page.getByRole('button', { name: 'Forget the token' }).click();
    await lab.says('The token is forgotten.');
    await lab.page.reload();
    await lab.says('The relay asks for a token.');
    lab.checkTraces();
  });
});
