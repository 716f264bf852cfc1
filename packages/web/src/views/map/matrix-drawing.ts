import type { Rates } from '../../layout/structure.ts';
import type { MatrixAxis, MatrixSizes } from './matrix.ts';

/** A matrix to draw; `at` is the cell whose row and column are tinted. */
export interface MatrixPicture {
  readonly axis: readonly MatrixAxis[];
  readonly cells: ReadonlyMap<number, Rates>;
  readonly sizes: MatrixSizes;
  readonly at: { readonly row: number; readonly column: number };
}

type Tokens = Pick<CSSStyleDeclaration, 'getPropertyValue'>;

/** Returns the sizes of a matrix; the names of open namespaces are in a column of their own. */
export function matrixSizes(axis: readonly MatrixAxis[]): MatrixSizes {
  const cell = 14.5;
  const left = axis.some(({ isOpen }) => isOpen) ? 226 : 122;
  const top = 124;
  const end = axis.length * cell + 12;
  return { cell, left, top, width: left + end, height: top + end };
}

/** Draws a matrix on a canvas that is measured in pixels of the page. */
export function drawMatrix(
  context: CanvasRenderingContext2D,
  picture: MatrixPicture,
  tokens: Tokens,
): void {
  const colour = (name: string) => tokens.getPropertyValue(`--${name}`).trim();
  const { axis, sizes, at } = picture;
  const { cell, left, top } = sizes;
  const side = axis.length * cell;
  context.clearRect(0, 0, sizes.width, sizes.height);
  context.fillStyle = colour('surface');
  context.fillRect(left, top, side, side);
  drawBlocks(context, picture, colour);
  context.globalAlpha = 0.15;
  context.fillStyle = colour('fresh');
  context.fillRect(0, top + at.row * cell, left + side, cell);
  context.fillStyle = colour('accent');
  context.fillRect(left + at.column * cell, 0, cell, top + side);
  context.globalAlpha = 1;
  drawNames(context, picture, tokens, colour);
  drawCells(context, picture, colour);
  context.strokeStyle = colour('accent');
  context.lineWidth = 1.5;
  context.strokeRect(left + at.column * cell, top + at.row * cell, cell, cell);
}

/** Draws the lines between namespaces, and tints the cells within one. */
function drawBlocks(
  context: CanvasRenderingContext2D,
  { axis, sizes: { cell, left, top } }: MatrixPicture,
  colour: (name: string) => string,
): void {
  const side = axis.length * cell;
  let start = 0;
  for (let index = 1; index <= axis.length; index++) {
    if (index < axis.length && axis[index]!.group === axis[start]!.group) continue;
    const length = (index - start) * cell;
    context.fillStyle = colour('surface-2');
    context.globalAlpha = 0.7;
    context.fillRect(left + start * cell, top + start * cell, length, length);
    context.globalAlpha = 1;
    context.fillStyle = colour('line');
    context.fillRect(left, top + index * cell - 0.5, side, 1);
    context.fillRect(left + index * cell - 0.5, top, 1, side);
    start = index;
  }
}

function drawNames(
  context: CanvasRenderingContext2D,
  { axis, sizes: { cell, left, top }, at }: MatrixPicture,
  tokens: Tokens,
  colour: (name: string) => string,
): void {
  const family = tokens.getPropertyValue('--sans');
  context.textBaseline = 'middle';
  for (const [index, { label, group, isOpen }] of axis.entries()) {
    const middle = (index + 0.5) * cell;
    const style = (isHot: boolean) => {
      context.font = `${isHot ? 650 : 400} 11px ${family}`;
      context.fillStyle = colour(isHot ? 'ink' : 'ink-2');
    };
    style(index === at.row);
    context.textAlign = 'right';
    context.fillText(label, left - 6, top + middle, 118);
    if (isOpen && axis[index - 1]?.group !== group) {
      style(true);
      context.textAlign = 'left';
      context.fillText(group.replace('outside: ', ''), 2, top + middle, 96);
    }
    style(index === at.column);
    context.save();
    context.translate(left + middle, top - 6);
    context.rotate(-Math.PI / 2);
    context.textAlign = 'left';
    context.fillText(label, 0, 0, top - 10);
    context.restore();
  }
}

/** Draws a square for each link, whose area is the logarithm of its rate, and a mark for trouble. */
function drawCells(
  context: CanvasRenderingContext2D,
  { axis, cells, sizes: { cell, left, top } }: MatrixPicture,
  colour: (name: string) => string,
): void {
  const most = Math.log10(1 + Math.max(1, ...[...cells.values()].map((rates) => rates.forwarded)));
  for (const [index, { forwarded, dropped, refused }] of cells) {
    const x = left + (index % axis.length) * cell + cell / 2;
    const y = top + Math.floor(index / axis.length) * cell + cell / 2;
    const share = 0.28 + 0.72 * (Math.log10(1 + forwarded) / most);
    if (forwarded > 0) {
      const side = (cell - 2.5) * Math.sqrt(share);
      context.globalAlpha = 0.25 + 0.65 * share;
      context.fillStyle = colour('ink-2');
      context.fillRect(x - side / 2, y - side / 2, side, side);
      context.globalAlpha = 1;
    }
    if (dropped + refused === 0) continue;
    const reach = cell / 2 - 2.5;
    const mark = new Path2D();
    if (dropped > 0) {
      mark.moveTo(x - reach, y - reach);
      mark.lineTo(x + reach, y + reach);
      mark.moveTo(x + reach, y - reach);
      mark.lineTo(x - reach, y + reach);
    } else {
      mark.arc(x, y, reach, 0, 2 * Math.PI);
      mark.moveTo(x - reach * 0.7, y + reach * 0.7);
      mark.lineTo(x + reach * 0.7, y - reach * 0.7);
    }
    // A halo keeps the mark apart from the square behind it.
    context.lineWidth = 5;
    context.strokeStyle = colour('surface');
    context.stroke(mark);
    context.lineWidth = 2.2;
    context.strokeStyle = colour(dropped > 0 ? 'drop' : 'refuse');
    context.stroke(mark);
  }
}
