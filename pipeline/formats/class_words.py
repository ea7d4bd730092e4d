"""Words in the class, id, role, itemprop and style of an element that say what it holds, found in one pass.

The lists are ours, from the names that content management systems give: what begins or ends with a space is a whole
name or its beginning or end, what does not is found anywhere. They are looked for as Aho and Corasick do (1975): a
table of states by bytes, one step a byte, however many words there are.
"""

import numpy as np
from numpy.typing import NDArray

ARTICLE = 1  # holds an article's text
CONTENT = 2  # holds the page's content, and often more
ASIDE = 4  # beside the text: menus, teasers, buttons, dates, bylines
COMMENTS = 8
HIDDEN = 16  # not shown

ARTICLE_WORDS = (
    "articlebody article-body article_body article__body entry-content post-content post_content article-content "
    "article_content article__content articletext article-text article_text post-body post_body postbody story-body "
    "storybody story-content blog-content single-content post__content content-body contentbody page-content "
    "articlecontent rich-text richtext news-text newstext bodytext text-body recipe-content wysiwyg"
)
CONTENT_WORDS = (" main ", " article ", " post ", " text ", " inhalt ", "contentarea", "primary", "hentry", "content")
ASIDE_WORDS = (
    "social sharing share- share_ -share _share sharedaddy related sidebar side-bar breadcrumb cookie newsletter "
    "navigation navbar -nav _nav footer teaser advert banner -ad- sponsor promo paginat pager subscrib signup sign-up "
    "login popup pop-up modal overlay consent outbrain taboola recommend rating byline by-line author paywall print "
    "masthead copyright caption tags taglist tag-list post-meta entry-meta postmeta meta-data article-meta metadata "
    "menu skip-link tooltip toolbar most-read mostread popular trending read-more readmore more- similar gdpr privacy "
    "imprint dateline timestamp published post-date entry-date post-info article-info infobox credit disclaimer "
    "table-of-contents toc_ syndication feedback survey shop product-list carousel slider gallery lightbox player "
    "bookmark upsell abo- follow contact-box kontakt bottom- ticker weather poll sr-only screen-reader visually-hidden"
)
ASIDE_NAMES = (
    *(" share", " nav", " ad ", " ads ", " ad-", " ads-", "-ad ", "-ads ", " widget", " date ", " toc "),
    *(" complementary ", " contentinfo ", " search "),
)
COMMENT_WORDS = "comment disqus respond"
HIDDEN_STYLES = ("display:none", "display: none", "visibility:hidden", "visibility: hidden")


def marked_words() -> dict[str, int]:
    """Return every word with the bits it gives to its element."""
    lists = {
        ARTICLE: ARTICLE_WORDS.split(),
        CONTENT: CONTENT_WORDS,
        ASIDE: (*ASIDE_WORDS.split(), *ASIDE_NAMES),
        ASIDE | COMMENTS: COMMENT_WORDS.split(),
        HIDDEN: HIDDEN_STYLES,
    }
    return {word: bits for bits, words in lists.items() for word in words}


def automaton(words: dict[str, int]) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return the next state by state and byte (states, 256), and the bits of the words that end in a state (states).

    State 0 is the beginning. Letters of either case are alike, and so is all white space.
    """
    branches, bits = _tree(words)
    steps = np.zeros((len(branches), 256), np.uint16)
    shorter = [0] * len(branches)  # the longest state that ends as this one does
    order = []
    for byte, state in branches[0].items():
        steps[0, byte] = state
        order.append(state)
    for state in order:  # grows; shorter states come first
        steps[state] = steps[shorter[state]]
        bits[state] |= bits[shorter[state]]
        for byte, longer in branches[state].items():
            shorter[longer] = int(steps[state, byte])
            steps[state, byte] = longer
            order.append(longer)
    steps[:, ord("A") : ord("Z") + 1] = steps[:, ord("a") : ord("z") + 1]
    for space in b"\t\n\f\r":
        steps[:, space] = steps[:, ord(" ")]
    return steps, np.array(bits, np.uint8)


def _tree(words: dict[str, int]) -> tuple[list[dict[int, int]], list[int]]:
    """Return the states that spell the words, by byte, and the bits of those at which a word ends."""
    branches: list[dict[int, int]] = [{}]
    bits = [0]
    for word, given in words.items():
        state = 0
        for byte in word.encode():
            if byte not in branches[state]:
                branches[state][byte] = len(branches)
                branches.append({})
                bits.append(0)
            state = branches[state][byte]
        bits[state] |= given
    return branches, bits
