// Medians, and other small sums.

export function quantile(list, q) {
  if (!list.length) return NaN;
  const sorted = [...list].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q, low = Math.floor(at);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
}

export const median = (list) => quantile(list, 0.5);
export const sum = (list) => list.reduce((a, b) => a + b, 0);
