import { formatRate } from '../../parts/format.ts';
import { colourOf, opacityOf } from './link-drawing.ts';
import type { DrawnLook } from './looks.ts';
import type { MapModel } from './map-model.svelte.ts';
import { groupTitle, trouble } from './words.ts';

type Tokens = Pick<CSSStyleDeclaration, 'getPropertyValue'>;
type Parts = Pick<MapModel, 'structure' | 'placement' | 'ratesOf'>;

const margin = 32;

/** Returns a text for the content of an XML element or attribute. */
export function escapeXml(text: string): string {
  const names: Record<string, string> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot' };
  // Characters that XML 1.0 has no way to write.
  const clean = text.toWellFormed().replace(/[^\P{Cc}\t\n\r]/gu, '\ufffd');
  return clean.replace(/[&<>"]/g, (letter) => `&${names[letter]};`);
}

/** Returns the map as an SVG file with the colours of the present theme. */
export function svgOfMap(model: Parts, looks: readonly DrawnLook[], tokens: Tokens): string {
  const colour = (name: string) => tokens.getPropertyValue(`--${name}`).trim();
  const { placement } = model;
  const width = placement.width + 2 * margin;
  const height = placement.height + 2 * margin;
  const links = (isInner: boolean) =>
    looks
      .filter(({ route }) => route.isInner === isInner)
      .map((look) => linkMarkup(look, tokens))
      .join('');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="${-margin} ${-margin} ${width} ${height}" font-family="Inter, system-ui, sans-serif" font-size="12.5">`,
    `<rect x="${-margin}" y="${-margin}" width="${width}" height="${height}" fill="${colour('bg')}"/>`,
    links(false),
    cardsMarkup(model, colour),
    links(true),
    '</svg>',
  ].join('\n');
}

function linkMarkup(look: DrawnLook, tokens: Tokens): string {
  const colour = colourOf(look, tokens);
  const last = look.route.curves.at(-1)!;
  const [x, y] = last[3];
  const before = last[2][0] === x ? last[0][0] : last[2][0];
  const back = x >= before ? -7 : 7;
  const dash = look.dash ? ` stroke-dasharray="${look.dash}"` : '';
  const head = look.hasHead
    ? `<path d="M${x + back} ${y - 3}L${x} ${y}L${x + back} ${y + 3}z" fill="${colour}"/>`
    : '';
  return `<g opacity="${opacityOf(look, tokens)}"><path d="${look.path}" fill="none" stroke="${colour}" stroke-width="${look.width.toFixed(1)}"${dash}/>${head}</g>`;
}

function cardsMarkup(model: Parts, colour: (name: string) => string) {
  const { structure, placement } = model;
  const text = (x: number, y: number, fill: string, content: string, more = '') =>
    `<text x="${x}" y="${y}" fill="${colour(fill)}"${more}>${escapeXml(content)}</text>`;
  return structure.groups
    .map((group) => {
      const card = placement.cards.get(group.name);
      if (!card) return '';
      const { x, y, width, height, isOpen } = card;
      const frame = group.isOutside
        ? `fill="none" stroke="${colour('line-2')}" stroke-dasharray="4 3"`
        : `fill="${colour('surface')}" stroke="${colour('line')}"`;
      const rows = isOpen ? group.members : [];
      const drops = group.members.reduce(
        (sum, { id }) => sum + trouble(model.ratesOf(id)).dropped,
        0,
      );
      const right = ' text-anchor="end"';
      const end = x + width - (group.isOutside ? 8 : 26);
      return [
        `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="8" ${frame}/>`,
        text(x + 8, y + 18, 'ink', groupTitle(group.name), ' font-weight="650"'),
        !isOpen && drops > 0
          ? text(x + width - 8, y + 18, 'drop', `✕ ${formatRate(drops)}`, right)
          : '',
        ...rows.flatMap(({ id, name }) => {
          const middle = placement.rows.get(id);
          if (middle === undefined) return [];
          const rates = model.ratesOf(id);
          const { dropped, refused } = trouble(rates);
          const mark =
            dropped > 0
              ? text(end - 36, middle + 4, 'drop', `✕ ${formatRate(dropped)}`, right)
              : refused > 0
                ? text(end - 36, middle + 4, 'refuse', `⊘ ${formatRate(refused)}`, right)
                : '';
          const rate = formatRate(rates.in.forwarded || rates.out.forwarded);
          return [
            text(x + 10, middle + 4, 'ink', name),
            mark,
            text(end, middle + 4, 'ink-3', rate, right),
          ];
        }),
      ].join('');
    })
    .join('\n');
}
