/* hnswlib behind C functions; see ann.h. Its index is derived from for a search with a filter, and
 * for files with checksums: its own trusts what it reads, and does not notice a full disk. */
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <queue>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include <hnswlib/hnswlib.h>

extern "C" {
#include "base/fault.h"
#include "base/hash.h"
#include "rag/ann.h"
#include "rag/int8.h"
}

namespace
{

template <typename F> enum err guarded(struct error *error, F f) noexcept
{
    try {
        return f();
    } catch (const std::bad_alloc &) {
        return err_set(error, ERR_NOMEM, "no memory for the index of vectors");
    } catch (const std::exception &e) {
        return err_set(error, ERR_NOMEM, "the index of vectors: %s", e.what());
    }
}

/* Cosine distance of two int8_vectors. */
struct space : hnswlib::SpaceInterface<float> {
    size_t dims, padded;
    int8_dot_fn dot = int8_dot();

    explicit space(size_t d) : dims(d), padded(int8_padded(d))
    {
    }

    size_t get_data_size() override
    {
        return int8_size(dims);
    }

    hnswlib::DISTFUNC<float> get_dist_func() override
    {
        return [](const void *a, const void *b, const void *param) {
            auto self = static_cast<const space *>(param);
            auto x = static_cast<const int8_vector *>(a), y = static_cast<const int8_vector *>(b);
            int32_t sum = self->dot(x->bytes, y->bytes, self->padded, y->sum);
            return 1 - x->scale * y->scale * static_cast<float>(sum);
        };
    }

    void *get_dist_func_param() override
    {
        return this;
    }
};

using hnswlib::tableint;
using scored = std::pair<float, tableint>; /* distance, internal id */

struct farthest_first {
    bool operator()(const scored &a, const scored &b) const
    {
        return a.first < b.first;
    }
};
using best = std::priority_queue<scored, std::vector<scored>, farthest_first>;

struct graph : hnswlib::HierarchicalNSW<float> {
    using hnswlib::HierarchicalNSW<float>::HierarchicalNSW;

    /* The way down through the upper layers. */
    tableint nearest_above(const void *query) const
    {
        tableint at = enterpoint_node_;
        float distance = fstdistfunc_(query, getDataByInternalId(at), dist_func_param_);
        for (int level = maxlevel_; level > 0; level--) {
            for (bool changed = true; changed;) {
                changed = false;
                auto links = get_linklist(at, level);
                auto ids = links + 1;
                for (int i = 0, n = getListCount(links); i < n; i++) {
                    float d = fstdistfunc_(query, getDataByInternalId(ids[i]), dist_func_param_);
                    if (d >= distance) continue;
                    distance = d;
                    at = ids[i];
                    changed = true;
                }
            }
        }
        return at;
    }

    /* The lowest layer. What the filter refuses is walked through and not kept. */
    template <typename Allowed> best nearest(const void *query, size_t ef, Allowed allowed) const
    {
        best kept, todo; /* todo: by minus the distance */
        if (!cur_element_count) return kept;
        tableint start = nearest_above(query);
        auto visited = visited_list_pool_->getFreeVisitedList();
        auto marks = visited->mass;
        auto mark = visited->curV;
        auto look = [&](tableint id) {
            marks[id] = mark;
            float d = fstdistfunc_(query, getDataByInternalId(id), dist_func_param_);
            if (kept.size() >= ef && d >= kept.top().first) return;
            todo.emplace(-d, id);
            if (isMarkedDeleted(id) || !allowed(id)) return;
            kept.emplace(d, id);
            if (kept.size() > ef) kept.pop();
        };
        look(start);
        while (!todo.empty()) {
            auto [minus, id] = todo.top();
            if (kept.size() >= ef && -minus > kept.top().first) break;
            todo.pop();
            auto links = get_linklist0(id);
            auto ids = links + 1;
            for (int i = 0, n = getListCount(links); i < n; i++)
                __builtin_prefetch(getDataByInternalId(ids[i]));
            for (int i = 0, n = getListCount(links); i < n; i++)
                if (marks[ids[i]] != mark) look(ids[i]);
        }
        visited_list_pool_->releaseVisitedList(visited);
        return kept;
    }
};

constexpr uintptr_t LARGE_PAGE = 2 << 20;

struct group { /* a collection, or a file */
    std::vector<tableint> ids;
    size_t live = 0;
};

} // namespace

struct ann {
    struct space space;
    struct graph graph;
    std::vector<int64_t> collection, file; /* by internal id */
    std::mutex lock;                       /* of the two below, between adding threads */
    std::unordered_map<int64_t, group> collections, files;

    ann(size_t dims, size_t capacity)
        : space(dims), graph(&space, capacity, ANN_LINKS, ANN_EF_ADD), collection(capacity),
          file(capacity)
    {
        /* It looks one link ahead, also behind the last one. */
        graph.size_links_per_element_ += sizeof(tableint);
        ask_for_large_pages();
    }

    /* A walk jumps from one end of the vectors to the other; with pages of 4 KB most jumps miss the
     * list of pages that the processor knows. A wish: what comes of it is the kernel's. */
    void ask_for_large_pages()
    {
        auto from = reinterpret_cast<uintptr_t>(graph.data_level0_memory_);
        auto to = from + graph.max_elements_ * graph.size_data_per_element_;
        from = (from + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
        to &= ~(LARGE_PAGE - 1);
        if (to > from) madvise(reinterpret_cast<void *>(from), to - from, MADV_HUGEPAGE);
    }

    size_t data_size() const
    {
        return int8_size(space.dims);
    }

    void note(tableint id, int64_t c, int64_t f)
    {
        std::lock_guard<std::mutex> guard(lock);
        collection[id] = c;
        file[id] = f;
        bool live = !graph.isMarkedDeleted(id);
        for (auto g : {&collections[c], &files[f]}) {
            g->ids.push_back(id);
            g->live += live;
        }
    }

    void remove(tableint id)
    {
        graph.markDeletedInternal(id);
        collections[collection[id]].live--;
        files[file[id]].live--;
    }
};

extern "C" enum err ann_new(int32_t dims, size_t capacity, struct ann **out, struct error *error)
{
    return guarded(error, [&] {
        *out = new ann(static_cast<size_t>(dims), std::max<size_t>(capacity, 16));
        return OK;
    });
}

extern "C" void ann_free(struct ann *a)
{
    delete a;
}

extern "C" size_t ann_count(const struct ann *a)
{
    return a->graph.cur_element_count - a->graph.num_deleted_;
}

extern "C" size_t ann_removed(const struct ann *a)
{
    return a->graph.num_deleted_;
}

extern "C" size_t ann_room(const struct ann *a)
{
    return a->graph.max_elements_ - a->graph.cur_element_count;
}

extern "C" size_t ann_bytes(const struct ann *a)
{
    /* a vector with its links; its locks, mark, lists; its place in the table of numbers */
    size_t each = a->graph.size_data_per_element_ + sizeof(std::mutex) + 64;
    return a->graph.max_elements_ * each + a->graph.cur_element_count * 56;
}

extern "C" enum err ann_add(struct ann *a, int64_t n, int64_t collection, int64_t file,
                            const float *v, struct error *error)
{
    return guarded(error, [&] {
        std::vector<uint32_t> bytes(a->data_size() / sizeof(uint32_t));
        {
            std::lock_guard<std::mutex> guard(a->graph.cur_element_count_guard_);
            if (a->graph.label_lookup_.count(static_cast<size_t>(n))) return OK;
            if (a->graph.cur_element_count >= a->graph.max_elements_)
                return err_set(error, ERR_NOMEM, "the index of vectors is full");
        }
        int8_of(v, a->space.dims, reinterpret_cast<int8_vector *>(bytes.data()));
        auto id = a->graph.addPoint(bytes.data(), static_cast<size_t>(n), -1);
        a->note(id, collection, file);
        return OK;
    });
}

extern "C" enum err ann_grow(struct ann *a, size_t capacity, struct error *error)
{
    return guarded(error, [&] {
        if (capacity <= a->graph.max_elements_) return OK;
        a->collection.resize(capacity);
        a->file.resize(capacity);
        a->graph.resizeIndex(capacity);
        a->ask_for_large_pages();
        return OK;
    });
}

extern "C" size_t ann_remove_file(struct ann *a, int64_t file)
{
    size_t n = 0;
    auto found = a->files.find(file);
    if (found == a->files.end()) return 0;
    for (auto id : found->second.ids) {
        if (a->graph.isMarkedDeleted(id)) continue;
        a->remove(id);
        n++;
    }
    return n;
}

extern "C" size_t ann_keep(struct ann *a, const int64_t *numbers, size_t n)
{
    size_t gone = 0;
    for (tableint id = 0; id < a->graph.cur_element_count; id++) {
        auto number = static_cast<int64_t>(a->graph.getExternalLabel(id));
        if (a->graph.isMarkedDeleted(id) || std::binary_search(numbers, numbers + n, number))
            continue;
        a->remove(id);
        gone++;
    }
    return gone;
}

/* ---- searching ----------------------------------------------------------------------------- */

namespace
{

/* A walk through a graph of which only a part p may be kept looks at about WALK / p vectors, and
 * comparing that part one by one at p * all of them. */
constexpr double WALK = 2500;

/* Vectors looked at more closely: more where there are more, or the part that is found shrinks. */
size_t effort(size_t live)
{
    return std::min<size_t>(std::max<size_t>(live / 1250, ANN_EF), ANN_EF_MAX);
}

bool is_cheaper_flat(size_t allowed, size_t all)
{
    return static_cast<double>(allowed) * static_cast<double>(allowed) <
           WALK * static_cast<double>(all);
}

template <typename Allowed>
void compare(const ann *a, const void *query, size_t most, const std::vector<tableint> &ids,
             best &kept, Allowed allowed)
{
    auto distance = a->graph.fstdistfunc_;
    for (auto id : ids) {
        if (a->graph.isMarkedDeleted(id) || !allowed(id)) continue;
        float d = distance(query, a->graph.getDataByInternalId(id), a->graph.dist_func_param_);
        if (kept.size() >= most && d >= kept.top().first) continue;
        kept.emplace(d, id);
        if (kept.size() > most) kept.pop();
    }
}

size_t live_in(const std::unordered_map<int64_t, group> &groups,
               const std::unordered_set<int64_t> &wanted)
{
    size_t n = 0;
    for (auto key : wanted) {
        auto g = groups.find(key);
        if (g != groups.end()) n += g->second.live;
    }
    return n;
}

best find(const ann *a, const ann_query *q, const void *query, size_t most, bool *all)
{
    std::unordered_set<int64_t> collections(q->collections, q->collections + q->n_collections);
    std::unordered_set<int64_t> files(q->files, q->files + (q->by_file ? q->n_files : 0));
    auto &groups = q->by_file ? a->files : a->collections;
    auto &wanted = q->by_file ? files : collections;
    size_t live = ann_count(a), allowed = live_in(groups, wanted);
    auto may = [&](tableint id) {
        return collections.count(a->collection[id]) && (!q->by_file || files.count(a->file[id]));
    };
    best kept;
    *all = allowed <= most;
    if (allowed <= most || is_cheaper_flat(allowed, live)) {
        for (auto key : wanted) {
            auto g = groups.find(key);
            if (g != groups.end()) compare(a, query, most, g->second.ids, kept, may);
        }
    } else if (allowed == live && !q->by_file) {
        kept = a->graph.nearest(query, std::max(effort(live), most), [](tableint) { return true; });
    } else {
        kept = a->graph.nearest(query, std::max(effort(live), most), may);
    }
    return kept;
}

} // namespace

extern "C" enum err ann_search(const struct ann *a, const struct ann_query *q, size_t most,
                               int64_t *out, size_t *n, bool *all, struct error *error)
{
    *n = 0;
    return guarded(error, [&] {
        std::vector<uint32_t> bytes(a->data_size() / sizeof(uint32_t));
        int8_of(q->v, a->space.dims, reinterpret_cast<int8_vector *>(bytes.data()));
        auto kept = find(a, q, bytes.data(), most, all);
        while (kept.size() > most) kept.pop();
        for (; !kept.empty(); kept.pop())
            out[(*n)++] = static_cast<int64_t>(a->graph.getExternalLabel(kept.top().second));
        return OK;
    });
}

extern "C" bool ann_is(const struct ann *a, size_t i, int64_t *n)
{
    if (i >= a->graph.cur_element_count) return false;
    auto id = static_cast<tableint>(i);
    *n = static_cast<int64_t>(a->graph.getExternalLabel(id));
    return !a->graph.isMarkedDeleted(id);
}

extern "C" bool ann_matches(const struct ann *a, int64_t n, const float *v)
{
    auto found = a->graph.label_lookup_.find(static_cast<size_t>(n));
    if (found == a->graph.label_lookup_.end()) return false;
    std::vector<uint32_t> bytes(a->data_size() / sizeof(uint32_t));
    int8_of(v, a->space.dims, reinterpret_cast<int8_vector *>(bytes.data()));
    return !memcmp(bytes.data(), a->graph.getDataByInternalId(found->second), a->data_size());
}

/* ---- files --------------------------------------------------------------------------------- */

namespace
{

constexpr char MAGIC[8] = {'h', 'e', 'a', 'r', 't', 'h', 'V', '1'};
constexpr size_t PIECE = 1 << 20;
constexpr int LEVEL_MAX = 64;

struct header {
    char magic[8];
    ann_mark mark;
    uint64_t dims, count, element, upper, links, level, entry;
};

struct closer {
    void operator()(FILE *f) const
    {
        fclose(f);
    }
};
using file_ptr = std::unique_ptr<FILE, closer>;

/* Both directions, with the hash of everything so far. */
struct stream {
    FILE *f;
    uint64_t hash = 1;

    bool put(const void *data, size_t len)
    {
        auto p = static_cast<const char *>(data);
        for (size_t at = 0; at < len; at += PIECE) {
            size_t n = std::min(PIECE, len - at);
            hash = hash64(p + at, n, hash);
            if (fault_hit(FAULT_write) || fwrite(p + at, 1, n, f) != n) return false;
        }
        return true;
    }

    bool get(void *data, size_t len)
    {
        auto p = static_cast<char *>(data);
        for (size_t at = 0; at < len; at += PIECE) {
            size_t n = std::min(PIECE, len - at);
            if (fread(p + at, 1, n, f) != n) return false;
            hash = hash64(p + at, n, hash);
        }
        return true;
    }
};

bool write_all(const ann *a, const ann_mark *mark, stream s)
{
    const graph &g = a->graph;
    size_t n = g.cur_element_count;
    header h = {{},
                *mark,
                a->space.dims,
                n,
                g.size_data_per_element_,
                g.size_links_per_element_,
                g.M_,
                static_cast<uint64_t>(g.maxlevel_ + 1),
                g.enterpoint_node_};
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    bool fine = s.put(&h, sizeof h) && s.put(g.element_levels_.data(), n * sizeof(int)) &&
                s.put(a->collection.data(), n * sizeof(int64_t)) &&
                s.put(a->file.data(), n * sizeof(int64_t)) &&
                s.put(g.data_level0_memory_, n * g.size_data_per_element_);
    for (size_t i = 0; fine && i < n; i++)
        if (g.element_levels_[i] > 0)
            fine = s.put(g.linkLists_[i],
                         g.size_links_per_element_ * static_cast<size_t>(g.element_levels_[i]));
    uint64_t hash = s.hash;
    return fine && s.put(&hash, sizeof hash) && !fflush(s.f) && !fsync(fileno(s.f));
}

/* The graph's destructor frees the lists of as many vectors as it counts. */
bool read_links(graph &g, const std::vector<int> &levels, stream &s)
{
    for (size_t i = 0; i < levels.size(); i++) {
        size_t len = g.size_links_per_element_ * static_cast<size_t>(levels[i]);
        char *list = nullptr;
        if (len) {
            list = static_cast<char *>(malloc(len + 1));
            if (!list) throw std::bad_alloc();
        }
        g.linkLists_[i] = list;
        g.element_levels_[i] = levels[i];
        g.cur_element_count = i + 1;
        if (len && !s.get(list, len)) return false;
    }
    return true;
}

std::unique_ptr<ann> read_all(size_t dims, ann_mark *mark, stream s)
{
    header h;
    uint64_t hash, wanted;
    if (!s.get(&h, sizeof h) || memcmp(h.magic, MAGIC, sizeof MAGIC) || h.dims != dims ||
        h.links != ANN_LINKS || h.count > UINT32_MAX / 2)
        return nullptr;
    size_t n = h.count;
    /* Before memory is taken for what the header says: is the file that long? */
    long here = ftell(s.f);
    if (fseek(s.f, 0, SEEK_END) || static_cast<uint64_t>(ftell(s.f)) < n * h.element ||
        fseek(s.f, here, SEEK_SET))
        return nullptr;
    auto a = std::make_unique<ann>(dims, n + n / 8 + 1024);
    graph &g = a->graph;
    std::vector<int> levels(n);
    if (h.element != g.size_data_per_element_ || h.upper != g.size_links_per_element_ ||
        (n && h.entry >= n) || !s.get(levels.data(), n * sizeof(int)))
        return nullptr;
    for (int level : levels)
        if (level < 0 || level > LEVEL_MAX) return nullptr;
    std::vector<int64_t> collection(n), file(n);
    if (!s.get(collection.data(), n * sizeof(int64_t)) ||
        !s.get(file.data(), n * sizeof(int64_t)) ||
        !s.get(g.data_level0_memory_, n * g.size_data_per_element_) || !read_links(g, levels, s))
        return nullptr;
    wanted = s.hash;
    if (!s.get(&hash, sizeof hash) || hash != wanted) return nullptr;
    g.maxlevel_ = static_cast<int>(h.level) - 1;
    g.enterpoint_node_ = static_cast<tableint>(h.entry);
    for (tableint id = 0; id < n; id++) {
        g.label_lookup_[g.getExternalLabel(id)] = id;
        if (g.isMarkedDeleted(id)) g.num_deleted_++;
        a->note(id, collection[id], file[id]);
    }
    *mark = h.mark;
    return a;
}

} // namespace

extern "C" enum err ann_save(const struct ann *a, const char *path, const struct ann_mark *mark,
                             struct error *error)
{
    return guarded(error, [&] {
        std::string fresh = std::string(path) + ".new";
        file_ptr f(fopen(fresh.c_str(), "wbe"));
        if (!f) return err_set_errno(error, errno, fresh.c_str());
        bool fine = write_all(a, mark, stream{f.get()});
        int why = errno ? errno : ENOSPC;
        f.reset();
        if (fine && !rename(fresh.c_str(), path)) return OK;
        unlink(fresh.c_str());
        return err_set_errno(error, why, path);
    });
}

extern "C" enum err ann_load(const char *path, int32_t dims, struct ann **out,
                             struct ann_mark *mark, struct error *error)
{
    return guarded(error, [&] {
        file_ptr f(fopen(path, "rbe"));
        if (!f) return err_set_errno(error, errno, path);
        auto a = read_all(static_cast<size_t>(dims), mark, stream{f.get()});
        if (!a) return err_set(error, ERR_CHECKSUM, "%s is damaged or of another version", path);
        *out = a.release();
        return OK;
    });
}
